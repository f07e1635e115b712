//! The control groups of a local cloud: one for its machines, one for the supervisor and whatever else it starts.
//!
//! What the supervisor starts ends with it, but not all at once and not by all accounts: `MiniStack` saves first, and when
//! it is killed, too, its functions go on. So the groups are what is ended when a supervisor was killed: no process gets
//! out of its group, whatever it became of its parents.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use ovenbird_core::domain::digest;

use crate::{
    error::{LocalError, Result},
    home::Home,
    machine::{cgroup, remove_ending_groups},
    ministack,
};

/// How long the last processes of groups that were killed may take.
const GRACE: Duration = Duration::from_secs(10);

/// The group of a home's machines; each has one below it.
pub(crate) fn machines(home: &Home) -> io::Result<PathBuf> {
    let name = digest::sha256(home.root().as_os_str().as_encoded_bytes());
    Ok(cgroup::unified()?.join(format!("ovenbird-{}", &name.as_str()[..8])))
}

/// The group of a home's supervisor.
fn services(home: &Home) -> io::Result<PathBuf> {
    Ok(machines(home)?.with_extension("services"))
}

/// Ends what an earlier supervisor of this home left when it was killed, and removes its groups. `MiniStack` may save
/// what it has first.
///
/// The caller holds the home: no supervisor runs in it, and none comes up meanwhile.
pub(crate) async fn end_left(home: &Home) -> Result<()> {
    ministack::end_left(home).await?;
    // Where there is no such hierarchy there are no machines, and nobody was in a group.
    let (Ok(machines), Ok(services)) = (machines(home), services(home)) else { return Ok(()) };
    for group in [machines, services] {
        cgroup::kill(&group);
        if !remove_ending_groups(&group, GRACE).await {
            let problem = format!("processes of {} don't end", group.display());
            return Err(LocalError::io("end what an earlier local cloud left")(io::Error::other(problem)));
        }
    }
    Ok(())
}

/// This process in the group of the supervisor, with all that it starts, until it is dropped.
#[derive(Debug)]
pub(crate) struct Services {
    own: PathBuf,
    before: PathBuf,
}

impl Services {
    /// Goes there.
    pub fn join(home: &Home) -> io::Result<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup")?;
        let before = groups.lines().find_map(|line| line.strip_prefix("0::/"));
        let before = before.ok_or_else(|| io::Error::other("this process is in no control group"))?;
        let this = Self { own: services(home)?, before: cgroup::unified()?.join(before) };
        fs::create_dir_all(&this.own)?;
        enter(&this.own)?;
        Ok(this)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        // What doesn't work now is done by the next `down` or `up`.
        if enter(&self.before).is_ok() {
            cgroup::remove(&self.own);
        }
    }
}

fn enter(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.procs"), process::id().to_string())
}
