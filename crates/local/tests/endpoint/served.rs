//! What the endpoint serves: the page that lists it, and AWS's own models of it.

use std::{fmt::Write as _, fs, path::Path};

use serde_json::json;

use crate::{
    fixture::TestEndpoint,
    programs::{program, succeeds},
};

const PAGE: &str = "docs/local-api.md";
const BEGIN: &str = "<!-- what the endpoint serves -->\n";
const END: &str = "<!-- end -->";

/// The tables of operations and filters, as Markdown.
fn tables() -> String {
    let mut text = String::new();
    for (service, operations) in ovenbird_local::operations() {
        let title = match service {
            "ec2" => "Amazon EC2",
            "autoscaling" => "Amazon EC2 Auto Scaling",
            "elasticloadbalancing" => "Elastic Load Balancing (version 2)",
            "rbin" => "Recycle Bin",
            _ => "AWS Systems Manager",
        };
        let _ = write!(
            text,
            "\n### {title}: {} operations\n\n| operation | its filters |\n|---|---|\n",
            operations.len()
        );
        let filters = ovenbird_sim::filters();
        for operation in operations {
            let known = filters.iter().filter(|(of, _)| *of == operation && of_service(service, of));
            let known = known.flat_map(|(_, names)| names).map(|name| format!("`{name}`"));
            let known: Vec<_> = known.collect();
            let _ = writeln!(text, "| `{operation}` | {} |", known.join(", "));
        }
    }
    text + "\n"
}

/// Several services have a `DescribeTags`; only EC2's has these filters.
fn of_service(service: &str, operation: &str) -> bool {
    (service == "autoscaling") == (operation == "DescribeAutoScalingGroups")
        && matches!(service, "ec2" | "autoscaling")
}

#[test]
fn the_page_lists_what_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(PAGE);
    let page = fs::read_to_string(&path).expect("the page");
    let (head, rest) = page.split_once(BEGIN).expect("a place for the tables");
    let (there, tail) = rest.split_once(END).expect("an end of the place");
    if std::env::var_os("OVENBIRD_UPDATE").is_some() {
        fs::write(&path, format!("{head}{BEGIN}{}{END}{tail}", tables())).expect("the page");
    } else {
        let fix = "OVENBIRD_UPDATE=1 cargo test -p ovenbird-local --test endpoint served";
        assert!(there == tables(), "{PAGE} is old: {fix}");
    }
}

/// Hands what is served to a script that has AWS's models.
fn against_the_models(script: &str) {
    let Some(python) = program("python") else { return };
    let endpoint = TestEndpoint::start();
    let served = json!({
        "operations": ovenbird_local::operations().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "filters": ovenbird_sim::filters().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
    });
    let mut command = endpoint.command(&python);
    command.env("SERVED", served.to_string());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/endpoint").join(script));
    let said = succeeds(command);
    eprint!("{said}");
    assert!(said.ends_with("all seen\n"));
}

#[test]
fn requests_are_taken_and_refused_as_aws_s_models_have_them() {
    against_the_models("model_client.py");
}

#[test]
fn every_filter_that_aws_documents_is_known() {
    against_the_models("filters_client.py");
}
