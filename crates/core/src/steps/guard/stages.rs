//! The stages before an image is deregistered, and the way back from them.

use jiff::{SignedDuration, Timestamp};

use super::{Answer, Fate, Guard, Purpose, Reason, Terms, kept};
use crate::{
    domain::{
        bake::Bake,
        error::{Error, Result, Retry},
        id::AmiId,
        retirement::{Retiring, Since},
    },
    ports::{Image, Permission, Protection, PrunePorts, Row},
    store::{Gone, Ledger, Retirement},
};

/// So long after it was noted that an image goes, a function may still be at work on it, in its third try.
const GOES_WITHIN: SignedDuration = SignedDuration::from_mins(20);

/// An image that is due for a stage, and how its plan found it.
#[derive(Debug, Clone, Copy)]
pub struct Due<'a> {
    /// The image.
    pub image: &'a Image,
    /// The bake that made it.
    pub bake: Option<&'a Bake>,
    /// How far it was when the plan was made.
    pub was: Option<Since>,
    /// What its recipe says of its retirement.
    pub terms: Terms,
}

/// How far an image is, read at an act.
enum Standing {
    /// As the plan found it, or this very act began before; with its item of the table.
    AsPlanned(Option<Box<(Row, Retirement)>>),
    /// Somebody was quicker.
    Changed,
}

impl<C: PrunePorts> Guard<'_, C> {
    /// Marks an image as deprecated, unless something may use it.
    pub async fn deprecate(&self, due: Due<'_>, now: Timestamp) -> Fate {
        let read = match self.standing(&due, Some(Retiring::Deprecated)).await? {
            Standing::Changed => return Ok(Some(kept(due.image.id.as_str(), Reason::Changed, ""))),
            Standing::AsPlanned(read) => read,
        };
        match self.ask(due.image, due.bake, Purpose::Retirement(due.terms)).await? {
            Answer::Stays(kept) => return Ok(Some(kept)),
            Answer::MayGo(_) => {}
        }
        let Some(bake) = due.bake else {
            return Ok(Some(kept(due.image.id.as_str(), Reason::Unrecorded, "")));
        };
        if !is_in(read.as_deref(), Retiring::Deprecated) {
            let retirement = begun(due.image, bake, now);
            Ledger(self.cloud).retire(&retirement, read.as_deref().map(|(row, _)| row), Vec::new()).await?;
        }
        self.cloud.deprecate(&due.image.id, now).await?;
        if self.is_in(&due.image.id, Retiring::Deprecated).await? {
            return Ok(None);
        }
        // Somebody took it back while EC2 was asked.
        self.cloud.undeprecate(&due.image.id).await?;
        Ok(Some(kept(due.image.id.as_str(), Reason::Changed, "")))
    }

    /// Disables an image, unless something may use it. What EC2 forgets of it then is recorded first, and its own record
    /// goes in the same moment: from then on no bake reuses it.
    pub async fn disable(&self, due: Due<'_>, now: Timestamp) -> Fate {
        let read = match self.standing(&due, Some(Retiring::Disabled)).await? {
            Standing::Changed => return Ok(Some(kept(due.image.id.as_str(), Reason::Changed, ""))),
            Standing::AsPlanned(read) => read,
        };
        let (digest, record) = match self.ask(due.image, due.bake, Purpose::Retirement(due.terms)).await? {
            Answer::Stays(kept) => return Ok(Some(kept)),
            Answer::MayGo(record) => record.unzip(),
        };
        let (Some(bake), Some(read)) = (due.bake, read) else {
            return Ok(Some(kept(due.image.id.as_str(), Reason::Unrecorded, "")));
        };
        let (row, retirement) = *read;
        let mut permissions = retirement.permissions.clone();
        if retirement.stage != Retiring::Disabled {
            let ledger = Ledger(self.cloud);
            permissions = self.cloud.permissions(&due.image.id).await?;
            let set = ledger.image_row(&bake.spec.digest, &due.image.id).await?.map(|(_, set)| set);
            let more = match (&digest, &record) {
                (Some(digest), Some(record)) => ledger.forgetting(digest, record).await?,
                (None, _) | (_, None) => Vec::new(),
            };
            let stage = Retiring::Disabled;
            let next = Retirement { stage, since: now, permissions: permissions.clone(), set, ..retirement };
            ledger.retire(&next, Some(&row), more).await?;
        }
        self.cloud.disable(&due.image.id).await?;
        if self.is_in(&due.image.id, Retiring::Disabled).await? {
            return Ok(None);
        }
        // Somebody took it back while EC2 was asked.
        self.enable(&due.image.id, &permissions).await?;
        Ok(Some(kept(due.image.id.as_str(), Reason::Changed, "")))
    }

    /// Makes an image as it was before its retirement began. When a person asked for it, that is remembered.
    pub async fn restore(
        &self,
        image: &Image,
        bake: Option<&Bake>,
        by_a_person: bool,
        now: Timestamp,
    ) -> Fate {
        let ledger = Ledger(self.cloud);
        let read = ledger.retirement(&image.id).await?;
        // Looked at after that was read: whoever deregisters it writes both in one moment, and then asks EC2.
        if !is_returning(read.as_ref())
            && ledger.gone(&image.id).await?.is_some_and(|gone| now.duration_since(gone.at) < GOES_WITHIN)
        {
            return Err(Error::TryAgain { what: format!("image {}", image.id), why: Retry::Going });
        }
        let Some((row, retirement)) = read else {
            // A run made it as it was a moment ago. That a person asked for it is remembered all the same.
            if let (true, Some(bake)) = (by_a_person, bake) {
                let undone = Retirement { stage: Retiring::Undone, ..begun(image, bake, now) };
                ledger.retire(&undone, None, Vec::new()).await?;
            }
            return Ok(None);
        };
        // Nobody takes an image out of the Recycle Bin for a run to deregister it an hour later.
        let by_a_person = by_a_person || retirement.stage == Retiring::Returning;
        match retirement.stage {
            Retiring::Undone => return Ok(None),
            Retiring::Deprecated => {}
            Retiring::Disabled | Retiring::Returning => {
                self.enable(&image.id, &retirement.permissions).await?;
            }
        }
        self.cloud.undeprecate(&image.id).await?;
        // A run that died right before it deregistered the image has lifted that already.
        if image.protection == Protection::Off && bake.is_some_and(|bake| bake.spec.settings.protected) {
            self.cloud.protect(&image.id).await?;
        }
        if !by_a_person {
            return ledger.unretire(&row, retirement.set.as_ref()).await.map(|()| None);
        }
        let mut more = match &retirement.set {
            Some(set) => ledger.putting_back(set).await?,
            None => Vec::new(),
        };
        more.extend(ledger.back(&image.id).await?);
        let undone = Retirement {
            stage: Retiring::Undone,
            since: now,
            permissions: Vec::new(),
            set: None,
            ..retirement
        };
        ledger.retire(&undone, Some(&row), more).await.map(|()| None)
    }

    /// Deregisters an image that went through its stages, unless something may use it, or somebody took it back.
    ///
    /// What it takes to have it as it was is noted first, in the same moment as its record goes, if it has one still.
    pub async fn deregister_due(&self, due: Due<'_>, now: Timestamp) -> Fate {
        let read = match self.standing(&due, None).await? {
            Standing::Changed => return Ok(Some(kept(due.image.id.as_str(), Reason::Changed, ""))),
            Standing::AsPlanned(read) => read.map(|read| *read),
        };
        let ledger = Ledger(self.cloud);
        let record = match self.ask(due.image, due.bake, Purpose::Retirement(due.terms)).await? {
            Answer::Stays(kept) => {
                ledger.staying(&due.image.id).await?;
                return Ok(Some(kept));
            }
            Answer::MayGo(record) => record,
        };
        let Some(bake) = due.bake else {
            return Ok(Some(kept(due.image.id.as_str(), Reason::Unrecorded, "")));
        };
        let (permissions, set) = match &read {
            Some((_, retirement)) => (retirement.permissions.clone(), retirement.set.clone()),
            None => (Vec::new(), None),
        };
        let own = ledger.image_row(&bake.spec.digest, &due.image.id).await?.map(|(_, set)| set);
        let gone = Gone {
            image: due.image.id.clone(),
            pipeline: bake.spec.pipeline.clone(),
            bake: bake.spec.id.clone(),
            at: now,
            snapshots: due.image.snapshots.clone(),
            permissions,
            set: set.or(own),
        };
        let had_record = record.is_some();
        let mut more = match record {
            Some((digest, row)) => ledger.forgetting(&digest, &row).await?,
            None => Vec::new(),
        };
        // Who takes it back meanwhile has read this item before, and writes it last: then that fails, and begins anew.
        more.extend(read.map(|(row, retirement)| retirement.rewritten(row)));
        ledger.going(&gone, more).await?;
        let refused = self.deregister_at_once(due.image, due.bake, had_record).await?;
        if refused.is_some() {
            ledger.staying(&due.image.id).await?;
        }
        Ok(refused)
    }

    /// Enables an image, for all who could start it before it was disabled.
    async fn enable(&self, image: &AmiId, permissions: &[Permission]) -> Result<()> {
        self.cloud.enable(image).await?;
        if permissions.is_empty() { Ok(()) } else { self.cloud.permit(image, permissions).await }
    }

    /// Whether an image is in a stage at this moment.
    async fn is_in(&self, image: &AmiId, stage: Retiring) -> Result<bool> {
        Ok(is_in(Ledger(self.cloud).retirement(image).await?.as_ref(), stage))
    }

    /// Whether an image still is as its plan found it.
    pub(super) async fn is_as_planned(&self, due: &Due<'_>) -> Result<bool> {
        Ok(match self.standing(due, None).await? {
            Standing::AsPlanned(_) => true,
            Standing::Changed => false,
        })
    }

    /// Whether an image still is as its plan found it, or where this act leads.
    async fn standing(&self, due: &Due<'_>, leads_to: Option<Retiring>) -> Result<Standing> {
        let read = Ledger(self.cloud).retirement(&due.image.id).await?;
        let is = read.as_ref().map(|(_, retirement)| retirement.since());
        let same = is == due.was || is.is_some_and(|is| Some(is.stage) == leads_to);
        Ok(if same { Standing::AsPlanned(read.map(Box::new)) } else { Standing::Changed })
    }
}

/// Whether it is noted of an image that it comes out of the Recycle Bin.
pub(super) fn is_returning(read: Option<&(Row, Retirement)>) -> bool {
    is_in(read, Retiring::Returning)
}

fn is_in(read: Option<&(Row, Retirement)>, stage: Retiring) -> bool {
    read.is_some_and(|(_, retirement)| retirement.stage == stage)
}

fn begun(image: &Image, bake: &Bake, now: Timestamp) -> Retirement {
    Retirement {
        image: image.id.clone(),
        pipeline: bake.spec.pipeline.clone(),
        bake: bake.spec.id.clone(),
        stage: Retiring::Deprecated,
        since: now,
        permissions: Vec::new(),
        set: None,
    }
}
