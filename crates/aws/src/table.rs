//! The table, through DynamoDB.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, KeysAndAttributes, Put, TransactWriteItem,
};
use ovenbird_core::{
    Error, Result,
    domain::id::{AmiId, PipelineName},
    ports::{Expect, Index, Key, Row, Table, Write},
};

use crate::{
    Cloud,
    errors::{code, translate, unreadable},
};

/// An item as DynamoDB has it: its values by attribute name.
type Item = HashMap<String, AttributeValue>;

/// Codes by which a condition of a write, or another writer at the same moment, stopped it.
const CONFLICTS: &[&str] =
    &["ConditionalCheckFailedException", "TransactionCanceledException", "TransactionConflictException"];

/// So many items DynamoDB gives in one call.
const MOST_KEYS: usize = 100;

impl Table for Cloud {
    async fn get(&self, key: &Key) -> Result<Option<Row>> {
        let request = self.dynamodb.get_item().table_name(&self.settings.table).consistent_read(true);
        let answer = request.set_key(Some(address(key))).send().await;
        let answer = answer.map_err(|error| translate("dynamodb:GetItem", subject(key), &error))?;
        answer.item.map(|item| row("dynamodb:GetItem", item)).transpose()
    }

    async fn rows(&self, keys: &[Key]) -> Result<Vec<Row>> {
        let (operation, table) = ("dynamodb:BatchGetItem", &self.settings.table);
        let mut rows = Vec::new();
        for keys in keys.chunks(MOST_KEYS) {
            let what = keys.first().map(subject).unwrap_or_default();
            let asked = KeysAndAttributes::builder().consistent_read(true);
            let asked = asked.set_keys(Some(keys.iter().map(address).collect())).build();
            let mut left = Some(asked.map_err(|error| unreadable(operation, &what, error))?);
            // What it has no room for in one answer it names, to be asked for again.
            while let Some(asked) = left.take() {
                let answer = self.dynamodb.batch_get_item().request_items(table, asked).send().await;
                let answer = answer.map_err(|error| translate(operation, what.clone(), &error))?;
                for item in answer.responses.and_then(|mut found| found.remove(table)).unwrap_or_default() {
                    rows.push(row(operation, item)?);
                }
                left = answer.unprocessed_keys.and_then(|mut more| more.remove(table));
            }
        }
        Ok(rows)
    }

    async fn list(&self, pk: &str, prefix: &str) -> Result<Vec<Row>> {
        let request = self
            .dynamodb
            .query()
            .table_name(&self.settings.table)
            .consistent_read(true)
            .scan_index_forward(false)
            .key_condition_expression("pk = :pk AND begins_with(sk, :sk)")
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()))
            .expression_attribute_values(":sk", AttributeValue::S(prefix.to_owned()));
        let mut items = request.into_paginator().items().send();
        let mut rows = Vec::new();
        while let Some(item) = items.next().await {
            rows.push(row("dynamodb:Query", item.map_err(|error| translate("dynamodb:Query", pk, &error))?)?);
        }
        Ok(rows)
    }

    async fn by_status(&self, status: &str) -> Result<Vec<Row>> {
        let request = self
            .dynamodb
            .query()
            .table_name(&self.settings.table)
            .index_name("by-status")
            .key_condition_expression("gsi1pk = :status")
            .expression_attribute_values(":status", AttributeValue::S(status.to_owned()));
        let mut items = request.into_paginator().items().send();
        let mut rows = Vec::new();
        while let Some(item) = items.next().await {
            rows.push(row(
                "dynamodb:Query",
                item.map_err(|error| translate("dynamodb:Query", status, &error))?,
            )?);
        }
        Ok(rows)
    }

    async fn by_time(&self, pipeline: &PipelineName, most: usize) -> Result<Vec<Row>> {
        let request = self
            .dynamodb
            .query()
            .table_name(&self.settings.table)
            .index_name("by-time")
            .scan_index_forward(false)
            .limit(i32::try_from(most).unwrap_or(i32::MAX))
            .key_condition_expression("gsi3pk = :pipeline")
            .expression_attribute_values(":pipeline", AttributeValue::S(pipeline.to_string()));
        // A page ends after a megabyte, whatever the limit.
        let mut items = request.into_paginator().items().send();
        let mut rows = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| translate("dynamodb:Query", pipeline.as_str(), &error))?;
            rows.push(row("dynamodb:Query", item)?);
            if rows.len() == most {
                break;
            }
        }
        Ok(rows)
    }

    async fn by_image(&self, image: &AmiId) -> Result<Vec<Row>> {
        let request = self
            .dynamodb
            .query()
            .table_name(&self.settings.table)
            .index_name("by-image")
            .key_condition_expression("gsi2pk = :image")
            .expression_attribute_values(":image", AttributeValue::S(image.to_string()));
        let mut items = request.into_paginator().items().send();
        let mut rows = Vec::new();
        while let Some(item) = items.next().await {
            rows.push(row(
                "dynamodb:Query",
                item.map_err(|error| translate("dynamodb:Query", image.as_str(), &error))?,
            )?);
        }
        Ok(rows)
    }

    async fn commit(&self, mut writes: Vec<Write>) -> Result<()> {
        let what = writes.first().map(|write| subject(write_key(write))).unwrap_or_default();
        let conflict = || Error::changed(format!("item {what}"));
        // One put is a third of the price as no transaction.
        if let [Write::Put { .. }] = writes.as_slice()
            && let Some(Write::Put { key, doc, expect, index }) = writes.pop()
        {
            let (condition, values) = condition(expect);
            let request = self.dynamodb.put_item().table_name(&self.settings.table);
            let request =
                request.set_item(Some(item(&key, doc, expect, &index)?)).condition_expression(condition);
            return match request.set_expression_attribute_values(values).send().await {
                Ok(_) => Ok(()),
                Err(error) if CONFLICTS.contains(&code(&error)) => Err(conflict()),
                Err(error) => Err(translate("dynamodb:PutItem", what, &error)),
            };
        }
        let items = writes.into_iter().map(|write| self.transact_item(write)).collect::<Result<Vec<_>>>()?;
        match self.dynamodb.transact_write_items().set_transact_items(Some(items)).send().await {
            Ok(_) => Ok(()),
            Err(error) if CONFLICTS.contains(&code(&error)) => Err(conflict()),
            Err(error) => Err(translate("dynamodb:PutItem", what, &error)),
        }
    }
}

impl Cloud {
    fn transact_item(&self, write: Write) -> Result<TransactWriteItem> {
        let table = &self.settings.table;
        let whole = |error| unreadable("dynamodb:PutItem", "a transaction", error);
        let builder = TransactWriteItem::builder();
        Ok(match write {
            Write::Put { key, doc, expect, index } => {
                let (condition, values) = condition(expect);
                let put = Put::builder().table_name(table).set_item(Some(item(&key, doc, expect, &index)?));
                let put = put.condition_expression(condition).set_expression_attribute_values(values);
                builder.put(put.build().map_err(whole)?).build()
            }
            Write::Delete { key, expect } => {
                let (condition, values) = condition(expect);
                let delete = Delete::builder().table_name(table).set_key(Some(address(&key)));
                let delete = delete.condition_expression(condition).set_expression_attribute_values(values);
                builder.delete(delete.build().map_err(whole)?).build()
            }
            Write::Check { key, expect } => {
                let (condition, values) = condition(expect);
                let check = ConditionCheck::builder().table_name(table).set_key(Some(address(&key)));
                let check = check.condition_expression(condition).set_expression_attribute_values(values);
                builder.condition_check(check.build().map_err(whole)?).build()
            }
        })
    }
}

fn write_key(write: &Write) -> &Key {
    match write {
        Write::Put { key, .. } | Write::Delete { key, .. } | Write::Check { key, .. } => key,
    }
}

fn subject(key: &Key) -> String {
    format!("{} {}", key.pk, key.sk)
}

fn address(key: &Key) -> Item {
    HashMap::from([
        ("pk".to_owned(), AttributeValue::S(key.pk.clone())),
        ("sk".to_owned(), AttributeValue::S(key.sk.clone())),
    ])
}

fn condition(expect: Expect) -> (&'static str, Option<Item>) {
    match expect {
        Expect::Absent => ("attribute_not_exists(pk)", None),
        Expect::Version(version) => {
            ("version = :version", Some(HashMap::from([(":version".to_owned(), number(version))])))
        }
    }
}

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn item(key: &Key, doc: serde_json::Value, expect: Expect, index: &Index) -> Result<Item> {
    let version = match expect {
        Expect::Absent => 1,
        Expect::Version(version) => version + 1,
    };
    let doc = serde_dynamo::to_attribute_value(doc)
        .map_err(|error| unreadable("dynamodb:PutItem", subject(key), error))?;
    let mut item = address(key);
    item.insert("version".to_owned(), number(version));
    item.insert("doc".to_owned(), doc);
    if let Some((status, time)) = &index.status {
        item.insert("gsi1pk".to_owned(), AttributeValue::S(status.clone()));
        item.insert("gsi1sk".to_owned(), AttributeValue::S(time.clone()));
    }
    if let Some(image) = &index.image {
        item.insert("gsi2pk".to_owned(), AttributeValue::S(image.to_string()));
        item.insert("gsi2sk".to_owned(), AttributeValue::S(key.sk.clone()));
    }
    if let Some((pipeline, time)) = &index.time {
        item.insert("gsi3pk".to_owned(), AttributeValue::S(pipeline.to_string()));
        // Of one length, so that texts sort as times do.
        item.insert("gsi3sk".to_owned(), AttributeValue::S(format!("{time:.6}")));
    }
    if let Some(expires) = index.expires {
        item.insert("expires".to_owned(), AttributeValue::N(expires.as_second().to_string()));
    }
    Ok(item)
}

fn row(operation: &'static str, mut item: Item) -> Result<Row> {
    let bad = |what: &str| unreadable(operation, "an item", format!("no {what}"));
    let text = |item: &Item, name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
    let key = Key {
        pk: text(&item, "pk").ok_or_else(|| bad("pk"))?,
        sk: text(&item, "sk").ok_or_else(|| bad("sk"))?,
    };
    let version =
        item.get("version").and_then(|value| value.as_n().ok()).and_then(|number| number.parse().ok());
    let doc = item.remove("doc").ok_or_else(|| bad("doc"))?;
    let doc = serde_dynamo::from_attribute_value(doc)
        .map_err(|error| unreadable(operation, subject(&key), error))?;
    Ok(Row { version: version.ok_or_else(|| bad("version"))?, key, doc })
}
