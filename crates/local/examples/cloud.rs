//! Scratch.
use ovenbird_local::*;
fn main() -> std::process::ExitCode {
    if let Some(code) = hidden_main() {
        return code;
    }
    let args: Vec<String> = std::env::args().collect();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        let mut o = Options::new(std::env::var("PORT").ok().and_then(|p| p.parse().ok()).unwrap_or(4566));
        if std::env::var("NODEPLOY").is_ok() {
            o.repository = None;
        }
        if std::env::var("SIM").is_ok() {
            o.machines = Machines::Simulated;
        }
        let r: Result<()> =
            match args[1..].iter().map(std::string::String::as_str).collect::<Vec<_>>().as_slice() {
                ["up"] => up(&o, |e| println!("{e:?}")).await.map(|s| println!("{s:#?}")),
                ["down"] => down(&o).await.map(|s| println!("{s:#?}")),
                ["status"] => status(&o).await.map(|s| println!("{s:#?}")),
                ["reset"] => reset(&o).await,
                ["open", i, p] => open(&o, i, p.parse().unwrap()).await.map(|s| println!("{s:#?}")),
                ["local", "serve", "--options", t] => serve(serde_json::from_str(t).unwrap()).await,
                x => panic!("{x:?}"),
            };
        match r {
            Ok(()) => std::process::ExitCode::SUCCESS,
            Err(e) => {
                println!("{e:?}\n{e}\nhint: {}", e.hint());
                std::process::ExitCode::FAILURE
            }
        }
    })
}
