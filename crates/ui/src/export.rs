//! The same pages as files of a folder: for a bucket, or for the record of an incident.

use std::{collections::BTreeSet, path::Path, rc::Rc};

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    Account, Reader,
    pages::{self, layout::View},
    read::Snapshot,
    server::{Options, STYLE},
    site::{Form, Page},
};

/// Writes every page into the folder, and gives how many there are. What else is in the folder stays.
///
/// # Errors
/// When a file can't be written.
pub async fn export<A: Account>(
    account: A,
    folder: &Path,
    options: &Options,
    now: Timestamp,
) -> std::io::Result<usize> {
    let reader = Reader::once(account);
    let snapshot = reader.snapshot(now).await;
    tokio::fs::create_dir_all(folder).await?;
    tokio::fs::write(folder.join("style.css"), STYLE).await?;
    let zone = TimeZone::system();
    let zone = if zone.is_unknown() { TimeZone::UTC } else { zone };
    let all = every(&reader, snapshot).await;
    for page in &all {
        let (form, zone) = (Form::Export, zone.clone());
        let (command, place) = (options.command.as_str(), options.place.as_str());
        let reach = options.reach.as_str();
        let view = View { page, form, now, zone, changes: false, command, place, reach };
        let body = pages::body(&reader, &view).await;
        let file = folder.join(page.file());
        if let Some(parent) = file.parent() {
            tokio::fs::create_dir_all(parent).await?;
        }
        tokio::fs::write(file, view.document(&body)).await?;
    }
    Ok(all.len())
}

/// Every page that another one leads to.
async fn every<A: Account>(reader: &Reader<A>, snapshot: Rc<Snapshot>) -> BTreeSet<Page> {
    let mut all = BTreeSet::from([
        Page::Overview,
        Page::Bakes,
        Page::Lineage,
        Page::Fleet,
        Page::Rollouts,
        Page::Prune,
        Page::Doctor,
    ]);
    for one in &snapshot.pipelines {
        all.insert(Page::Pipeline(one.pipeline.clone()));
        all.insert(Page::PruneOf(one.pipeline.clone()));
    }
    for bake in &snapshot.bakes {
        all.insert(Page::Bake(bake.spec.pipeline.clone(), bake.spec.id.clone()));
    }
    all.extend(pages::linked(reader, &snapshot).await);
    all
}
