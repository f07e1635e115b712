//! Turns: which bakes have a builder, in one item of the stack, and which wait for one, in an item of each pipeline.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ledger::{Ledger, among_others, encode, expect, read};
use crate::{
    domain::{
        bake::BakeSpec,
        error::{Error, Result},
        id::{BakeId, PipelineName},
        turn::{Answer, Limits, Turn},
    },
    ports::{Index, Key, Row, Table, Write},
};

/// Bakes, the first of them first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Turns {
    #[serde(default)]
    turns: Vec<Turn>,
}

/// An item of turns as it was read, and as it is to be.
struct Kept {
    key: Key,
    row: Option<Row>,
    before: Turns,
    turns: Vec<Turn>,
}

impl Kept {
    async fn read(table: &impl Table, key: Key) -> Result<Self> {
        let found = read::<Turns>(table.get(&key).await?)?;
        let (row, before) = found.map_or((None, Turns::default()), |(row, turns)| (Some(row), turns));
        let turns = before.turns.clone();
        Ok(Self { key, row, before, turns })
    }

    fn forget(&mut self, bakes: &[&BakeId]) {
        self.turns.retain(|one| !bakes.contains(&&one.bake));
    }

    /// The write that makes it so; none when nothing has changed.
    fn write(self) -> Option<Write> {
        if self.turns == self.before.turns {
            return None;
        }
        let doc = encode(&Turns { turns: self.turns });
        let expect = expect(self.row.as_ref());
        Some(Write::Put { key: self.key, doc, expect, index: Index::default() })
    }
}

/// Where it is written which bakes have a builder.
fn stack() -> Key {
    Key { pk: "STACK".to_owned(), sk: "TURNS".to_owned() }
}

impl<T: Table> Ledger<'_, T> {
    /// Asks for a bake's turn to have a builder, and puts it into its pipeline's line when others come first. Those whose
    /// executions are over, as `dead` says, have no turn any more.
    ///
    /// When so many ask at once that it can't be written, the bake waits like any other: it asks again, and is in no line
    /// until then.
    pub async fn take_turn(
        &self,
        bake: &BakeSpec,
        most: Limits,
        dead: &[BakeId],
        now: Timestamp,
    ) -> Result<Answer> {
        let asked = among_others(async || {
            let (mut at_work, mut line) = self.turns(&bake.pipeline).await?;
            let dead: Vec<&BakeId> = dead.iter().collect();
            at_work.forget(&dead);
            line.forget(&dead);
            let turn = Turn::of(bake, now);
            let answer = turn.ask(&at_work.turns, &line.turns, most);
            match &answer {
                Answer::Granted => {
                    line.forget(&[&bake.id]);
                    if !at_work.turns.iter().any(|one| one.bake == bake.id) {
                        at_work.turns.push(turn);
                    }
                }
                Answer::Wait(_) => turn.wait_in(&mut line.turns),
                Answer::Overtaken(_) => return Ok(answer),
            }
            let writes: Vec<Write> = at_work.write().into_iter().chain(line.write()).collect();
            if !writes.is_empty() {
                self.0.commit(writes).await?;
            }
            Ok(answer)
        });
        match asked.await {
            Err(Error::TryAgain { .. }) => Ok(Answer::Wait(None)),
            answer => answer,
        }
    }

    /// What a bake that waits for its turn would be told now; nothing is written. None when it is in no line.
    pub async fn would_take_turn(
        &self,
        bake: &BakeSpec,
        most: Limits,
        now: Timestamp,
    ) -> Result<Option<Answer>> {
        let (at_work, line) = self.turns(&bake.pipeline).await?;
        let waits = line.turns.iter().any(|one| one.bake == bake.id);
        Ok(waits.then(|| Turn::of(bake, now).ask(&at_work.turns, &line.turns, most)))
    }

    /// The bakes that have a builder, and those of a pipeline that wait for one.
    pub async fn at_work_and_waiting(&self, pipeline: &PipelineName) -> Result<(Vec<Turn>, Vec<Turn>)> {
        let (at_work, line) = self.turns(pipeline).await?;
        Ok((at_work.turns, line.turns))
    }

    /// How many bakes have a builder.
    pub async fn builders(&self) -> Result<usize> {
        Ok(self.with_builders().await?.len())
    }

    /// The bakes that have a builder.
    pub(super) async fn with_builders(&self) -> Result<Vec<Turn>> {
        Ok(Kept::read(self.0, stack()).await?.turns)
    }

    /// The writes that give a bake's turn back, and its place in the line.
    pub(super) async fn turn_given_back(&self, bake: &BakeSpec) -> Result<Vec<Write>> {
        let (mut at_work, mut line) = self.turns(&bake.pipeline).await?;
        at_work.forget(&[&bake.id]);
        line.forget(&[&bake.id]);
        Ok(at_work.write().into_iter().chain(line.write()).collect())
    }

    async fn turns(&self, pipeline: &PipelineName) -> Result<(Kept, Kept)> {
        let line = Key { pk: format!("PIPELINE#{pipeline}"), sk: "TURNS".to_owned() };
        // Who leaves the line is at work: read the other way round, a bake could be in neither.
        let line = Kept::read(self.0, line).await?;
        Ok((Kept::read(self.0, stack()).await?, line))
    }
}
