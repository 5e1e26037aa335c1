//! A racer that swaps files all the time while commands are approved and run: what runs is what was approved.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

use super::super::drift::outside;
use super::super::stage::Stage;
use super::{ELEVATED, on_host};

/// Swaps in `make test`, and in a siege.
const SWAPS: (u64, u64) = (400, 100_000);
/// Runs at least.
const RUNS: u64 = 6;

fn wanted() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how long the test is")]
    let siege = std::env::var_os("MOLTBOT_SIEGE").is_some();
    if siege { SWAPS.1 } else { SWAPS.0 }
}

/// Swaps a file between two contents until it is dropped: in place where that is possible, and by another file.
struct Racer {
    swaps: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Racer {
    fn begin(path: PathBuf, good: Vec<u8>, evil: Vec<u8>) -> Self {
        let (swaps, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&swaps), Arc::clone(&stop));
        let thread = std::thread::spawn(move || race(&path, [&evil, &good], &count, &end));
        Self { swaps, stop, thread: Some(thread) }
    }
}

#[expect(clippy::disallowed_methods, reason = "the attacker's thread")]
fn race(path: &std::path::Path, contents: [&Vec<u8>; 2], count: &AtomicU64, end: &AtomicBool) {
    use std::os::unix::fs::PermissionsExt as _;
    let other = path.with_extension("swap");
    while !end.load(Ordering::Relaxed) {
        for content in contents {
            // In place: the same file with other bytes. By another file: the name leads elsewhere.
            if count.load(Ordering::Relaxed).is_multiple_of(3) && std::fs::write(path, content).is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            std::fs::write(&other, content).unwrap();
            std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o755)).unwrap();
            std::fs::rename(&other, path).unwrap();
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Approves `command` whenever what it would run is the good content; `evil` is what would be there had the other run.
async fn raced(path: &str, command: &str, good: Vec<u8>, evil: Vec<u8>) {
    let mut stage = Stage::new(ELEVATED).await;
    let workspace = stage.workspace();
    let file = workspace.join(path);
    outside(&workspace, &format!("cp /usr/bin/true {path}"));
    let digest: String = Sha256::digest(&good).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let racer = Racer::begin(file, good, evil);
    let (mut ran, mut refused, mut denied) = (0, 0, 0);
    while ran + refused < RUNS || racer.swaps.load(Ordering::Relaxed) < wanted() {
        stage.begin("main", &on_host(command)).await;
        let Some(asked) = stage.asked_or_ended().await else { continue };
        let shows_good = asked["prompt"].as_str().unwrap().contains(&format!("(sha256 {digest}…)"));
        let told = stage.answer(&asked, if shows_good { "allow-once" } else { "deny" }).await;
        match (shows_good, told.starts_with("exit code 0")) {
            (true, true) => ran += 1,
            (true, false) => refused += 1,
            (false, _) => denied += 1,
        }
        assert!(!workspace.join("escaped").exists(), "what was not approved has run: {told}");
    }
    let swaps = racer.swaps.load(Ordering::Relaxed);
    println!(
        "{command}: {swaps} swaps, {ran} ran as approved, {refused} refused for drift, {denied} denied, 0 escapes"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e14_a_racer_that_swaps_the_script_file_gets_nothing_else_run() {
    raced("job.sh", "bash job.sh", b"echo good\n".to_vec(), b"touch escaped\n".to_vec()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e14_a_racer_that_swaps_the_program_gets_nothing_else_run() {
    #[expect(clippy::disallowed_methods, reason = "two programs of the system")]
    let (good, evil) = (std::fs::read("/usr/bin/echo").unwrap(), std::fs::read("/usr/bin/touch").unwrap());
    raced("tool", "./tool escaped", good, evil).await;
}
