//! The table: versioned items and conditional transactions.

use ovenbird_core::{
    Error, Result,
    domain::id::{AmiId, PipelineName},
    ports::{self, Key, Row, Table, Write},
};

use super::super::Cloud;

impl Table for Cloud {
    async fn get(&self, key: &Key) -> Result<Option<Row>> {
        self.call(&["dynamodb:GetItem"], |state| Ok(state.table.get(key).map(|(row, _)| row.clone()))).await
    }

    async fn rows(&self, keys: &[Key]) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for keys in keys.chunks(100) {
            let found = self.call(&["dynamodb:BatchGetItem"], |state| {
                let found = keys.iter().filter_map(|key| state.table.get(key));
                Ok(found.map(|(row, _)| row.clone()).collect::<Vec<_>>())
            });
            rows.extend(found.await?);
        }
        Ok(rows)
    }

    async fn list(&self, pk: &str, prefix: &str) -> Result<Vec<Row>> {
        assert!(!prefix.is_empty(), "DynamoDB refuses a query with an empty prefix");
        self.call(&["dynamodb:Query"], |state| {
            // The keys are in order: an account of years must not make every question slow.
            let from = Key { pk: pk.to_owned(), sk: prefix.to_owned() };
            let rows = state.table.range(from..).map(|(_, (row, _))| row);
            let found = rows.take_while(|row| row.key.pk == pk && row.key.sk.starts_with(prefix));
            let mut found: Vec<_> = found.cloned().collect();
            found.reverse();
            Ok(found)
        })
        .await
    }

    async fn by_status(&self, status: &str) -> Result<Vec<Row>> {
        self.call(&["dynamodb:Query"], |state| {
            let has = |index: &ports::Index| index.status.as_ref().is_some_and(|(one, _)| one == status);
            let mut found: Vec<_> = state.indexed().filter(|(_, index)| has(index)).collect();
            found.sort_by(|(_, a), (_, b)| a.status.cmp(&b.status));
            Ok(found.into_iter().map(|(row, _)| row.clone()).collect())
        })
        .await
    }

    async fn by_time(&self, pipeline: &PipelineName, most: usize) -> Result<Vec<Row>> {
        self.call(&["dynamodb:Query"], |state| {
            let time = |index: &ports::Index| {
                index.time.as_ref().filter(|(one, _)| one == pipeline).map(|(_, time)| *time)
            };
            let rows = state.indexed().filter_map(|(row, index)| Some((time(index)?, row)));
            let mut found: Vec<_> = rows.collect();
            found.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
            Ok(found.into_iter().take(most).map(|(_, row)| row.clone()).collect())
        })
        .await
    }

    async fn by_image(&self, image: &AmiId) -> Result<Vec<Row>> {
        self.call(&["dynamodb:Query"], |state| {
            let found = state.indexed().filter(|(_, index)| index.image.as_ref() == Some(image));
            Ok(found.map(|(row, _)| row.clone()).collect())
        })
        .await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<()> {
        // What IAM asks for, for each kind of write in a transaction.
        let actions = writes.iter().map(|write| match write {
            Write::Put { .. } => "dynamodb:PutItem",
            Write::Delete { .. } => "dynamodb:DeleteItem",
            Write::Check { .. } => "dynamodb:ConditionCheckItem",
        });
        self.call(&actions.collect::<Vec<_>>(), |state| {
            for write in &writes {
                let (key, expect) = match write {
                    Write::Put { key, expect, .. }
                    | Write::Delete { key, expect }
                    | Write::Check { key, expect } => (key, expect),
                };
                let version = state.table.get(key).map(|(row, _)| row.version);
                let wanted = match expect {
                    ports::Expect::Absent => None,
                    ports::Expect::Version(version) => Some(*version),
                };
                if version != wanted {
                    return Err(Error::changed(format!("item {} {}", key.pk, key.sk)));
                }
            }
            for write in writes.clone() {
                if let Write::Put { key, .. } | Write::Delete { key, .. } = &write {
                    state.note_item(key);
                }
                match write {
                    Write::Put { key, doc, index, .. } => {
                        let version = state.table.get(&key).map_or(0, |(row, _)| row.version) + 1;
                        state.table.insert(key.clone(), (Row { key, version, doc }, index));
                    }
                    Write::Delete { key, .. } => {
                        state.table.remove(&key);
                    }
                    Write::Check { .. } => {}
                }
            }
            Ok(())
        })
        .await
    }
}
