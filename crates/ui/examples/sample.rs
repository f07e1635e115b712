//! Serves or writes the page of an account in memory, to be looked at without a cloud:
//! `cargo run -p ovenbird-ui --example sample -- empty|usual|large [FOLDER]`.

#[path = "../tests/page/account.rs"]
mod account;

use std::path::Path;

use ovenbird_ui::{Options, Server};

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (desk, folder) = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["empty", rest @ ..] => (account::empty(), rest.first().copied()),
        ["usual", rest @ ..] => (account::usual(), rest.first().copied()),
        ["large", rest @ ..] => (account::large(100), rest.first().copied()),
        _ => {
            eprintln!("say empty, usual or large, and a folder to write the pages there");
            std::process::exit(2);
        }
    };
    let command = "ovenbird --local".to_owned();
    let options = Options {
        changes: folder.is_none(),
        command,
        place: "an account in memory".to_owned(),
        reach: String::new(),
    };
    // As the command has it: the account answers on one thread, and requests are taken on others.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        if let Some(folder) = folder {
            // Its clock is the account's: everything in it happened on one day.
            let now = desk.cloud.now();
            let pages = ovenbird_ui::export(desk, Path::new(folder), &options, now).await?;
            println!("{pages} pages in {folder}");
            return Ok(());
        }
        let server = Server::bind("127.0.0.1:0".parse().map_err(std::io::Error::other)?, options).await?;
        println!("{}", server.address().await);
        server.serve(desk, std::future::pending()).await
    })
}
