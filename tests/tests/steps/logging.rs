//! What the functions log: one line for each decision, with the ids that an operator filters by, and nothing secret.

use std::{
    io,
    sync::{Arc, Mutex},
};

use futures::executor::block_on;
use ovenbird_core::{domain::bake::Bake, functions};
use ovenbird_testkit::walk::scenarios::{Scenario, Times};
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use super::{
    bench::Bench,
    desk::{Desk, TWO},
};

/// Where the lines go.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What is logged meanwhile, as the functions log it on AWS.
fn logged(work: impl FnOnce()) -> Vec<Value> {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().json().with_writer(lines.clone()).without_time().finish();
    tracing::subscriber::with_default(subscriber, work);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_decision_of_a_bake_is_one_line_with_its_ids() {
    let desk = Desk::new(&Scenario { lying: &["v9.jar"], times: Times { boot: 150, ..TWO.times }, ..TWO });
    let lines = logged(|| {
        let trigger = json!({"artifact": "artifacts/storefront/v9.jar", "force": true});
        let input = json!({"action": "start", "bake": "one", "started": desk.now(), "trigger": trigger});
        let answer = block_on(functions::launch_builder(&desk.cloud, input, desk.now())).unwrap();
        let bake: Bake = serde_json::from_value(answer.clone()).unwrap();
        assert!(bake.progress.builder.is_some());
        // It boots: that is no decision, and no line.
        let look = json!({"action": "look", "document": answer});
        let (calls, began) = (desk.cloud.calls().len(), desk.now());
        block_on(functions::poll_readiness(&desk.cloud, look, desk.now())).unwrap();
        // It watches: for its report ten times a second, and five times in the end; each ten seconds whether it lives.
        assert_eq!(desk.now().duration_since(began).as_secs(), 119);
        let calls = desk.cloud.calls().split_off(calls);
        let count = |action: &str| calls.iter().filter(|call| call.actions[0] == action).count();
        assert_eq!(count("ec2:DescribeInstances"), 12, "{calls:?}");
        assert_eq!(count("s3:GetObject"), 1019 + 12, "{calls:?}");
        let seal = json!({"action": "seal", "document": answer});
        block_on(functions::snapshot(&desk.cloud, seal, desk.now())).unwrap_err();
    });
    assert_eq!(lines.len(), 2, "{lines:?}");
    let [launched, failed] = [&lines[0]["fields"], &lines[1]["fields"]];
    assert_eq!(launched["bake.id"], "one", "{launched}");
    assert_eq!(launched["stage"], "builder");
    assert!(launched["message"].as_str().unwrap().starts_with("launched builder i-"), "{launched}");
    assert_eq!(lines[1]["level"], "ERROR");
    assert_eq!((&failed["bake.id"], &failed["error"]), (&json!("one"), &json!("BadInput")), "{failed}");
}

#[test]
fn a_whole_bake_and_its_pruning_log_nothing_secret() {
    let lines = logged(|| {
        let desk = Desk::new(&TWO);
        desk.plan();
        let bench = Bench::new();
        bench.bake("one", &bench.upload("v1.jar"));
    });
    let text = serde_json::to_string(&lines).unwrap();
    for image in ["image.id", "storefront"] {
        assert!(text.contains(image), "{text}");
    }
    for secret in ["https://", "X-Amz", "123456789012", "arn:"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}
