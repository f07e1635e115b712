//! What Packer would add to the same bake: a model of its documented waits, not a run of it. `make bench` runs it.

use jiff::SignedDuration;

use super::Times;
use crate::latency::Latency;

/// How often Packer's communicator tries to connect (`communicator/step_connect_ssh.go`: five seconds after a try that failed).
const CONNECT_EVERY: SignedDuration = SignedDuration::from_secs(5);

/// How much of a launch is over when EC2 says `running`, which Packer waits for before it connects
/// (daemonology.net 2021-08-12: 6.44 of 29.26 s).
const RUNNING: f64 = 0.22;

/// The calls of a build, in its order (`builder/ebs/builder.go`): image, default VPC, subnets, key pair and
/// security group with its rule, tags, the instance's data, stop, tags of image and snapshots, and at the end the
/// termination, key pair and security group. A usual build makes some twenty; the launch and the image are AWS's work here, as in ours.
const CALLS: usize = 18;

/// Its overhead in seconds: what it waits beyond what AWS and the recipe take, and its own calls. Its waiters look
/// once in each pause. It ends when its machine is gone.
pub fn overhead(times: &Times, pause: SignedDuration, latency: &mut Latency) -> f64 {
    let running = times.launch.mul_f64(RUNNING);
    let booted = times.launch - running;
    let waits = [
        late(running, pause, latency),
        late(booted, CONNECT_EVERY, latency),
        late(times.stop, pause, latency),
        late(times.imaging, pause, latency),
        times.termination.as_secs_f64() + late(times.termination, pause, latency),
    ];
    // Over SSH: a connection, the upload of the script and its start for each of a step and a test, and the shutdown.
    let ssh: f64 = (0..7).map(|_| latency.draw("ssh").as_secs_f64()).sum();
    let calls: f64 = (0..CALLS).map(|_| latency.draw("ec2").as_secs_f64()).sum();
    waits.iter().sum::<f64>() + ssh + calls
}

/// How much later something is seen that takes so long and is looked at once in each pause. Where the looks begin is as
/// good as chance, because their answers take time, too.
fn late(takes: SignedDuration, pause: SignedDuration, latency: &mut Latency) -> f64 {
    let (takes, pause) = (takes.as_secs_f64(), pause.as_secs_f64());
    let first = latency.draw("ec2").as_secs_f64();
    let looks = ((takes - first) / pause).ceil().max(0.0);
    first + looks * pause - takes + latency.draw("ec2").as_secs_f64()
}
