//! A queue that hears what the stack tells of failures, as an operator's pager would.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::clients::{Local, within};

/// The queue, subscribed to the topic of failures.
#[derive(Debug)]
pub struct Mailbox<'a> {
    local: &'a Local,
    url: String,
    /// By their ids: what nobody deletes, SQS delivers again.
    heard: RefCell<BTreeMap<String, String>>,
}

impl<'a> Mailbox<'a> {
    /// Subscribes a new queue.
    pub fn subscribe(local: &'a Local) -> Result<Self> {
        let stack = local.aws(&["cloudformation", "describe-stacks", "--stack-name", "ovenbird"])?;
        let outputs = stack.pointer("/Stacks/0/Outputs").and_then(Value::as_array).context("no outputs")?;
        let topic = outputs.iter().find(|output| output["OutputKey"] == "FailuresTopicArn");
        let topic = topic.and_then(|output| output["OutputValue"].as_str()).context("no topic")?;
        let queue = local.aws(&["sqs", "create-queue", "--queue-name", "failures"])?;
        let url = queue["QueueUrl"].as_str().context("no queue")?.to_owned();
        let look = ["sqs", "get-queue-attributes", "--queue-url", &url, "--attribute-names", "QueueArn"];
        let queue = local.aws(&look)?;
        let arn = queue.pointer("/Attributes/QueueArn").and_then(Value::as_str).context("no ARN")?;
        let subscribe =
            ["sns", "subscribe", "--topic-arn", topic, "--protocol", "sqs", "--notification-endpoint", arn];
        local.aws(&subscribe)?;
        Ok(Self { local, url, heard: RefCell::default() })
    }

    /// Waits for a message that begins so.
    pub fn hear(&self, beginning: &str) -> Result<()> {
        self.hear_times(beginning, 1)
    }

    /// Waits until so many messages began so.
    pub fn hear_times(&self, beginning: &str, count: usize) -> Result<()> {
        within("the message", Duration::from_secs(30), || {
            self.fetch()?;
            let heard = self.heard.borrow();
            let seen = heard.values().filter(|message| message.starts_with(beginning)).count();
            ensure!(seen == count, "{seen} of {count} times {beginning:?} in {heard:?}");
            Ok(())
        })
    }

    /// The messages so far that name a bake.
    pub fn of(&self, bake: &str) -> Result<Vec<String>> {
        self.fetch()?;
        Ok(self.heard.borrow().values().filter(|message| message.contains(bake)).cloned().collect())
    }

    fn fetch(&self) -> Result<()> {
        let receive = ["sqs", "receive-message", "--queue-url", &self.url, "--max-number-of-messages", "10"];
        let received = self.local.aws(&receive)?;
        for message in received["Messages"].as_array().into_iter().flatten() {
            let envelope = message["Body"].as_str().context("a message without a body")?;
            let envelope: Value = serde_json::from_str(envelope).context("a notification")?;
            let text = envelope["Message"].as_str().context("a notification without a message")?;
            // EventBridge's transformed text is a JSON string.
            let text = serde_json::from_str(text).unwrap_or_else(|_| text.to_owned());
            let id = message["MessageId"].as_str().context("a message without an id")?.to_owned();
            self.heard.borrow_mut().insert(id, text);
        }
        Ok(())
    }
}
