//! The process of a local model: what it is given, what it cannot do, and how it ends. In its place is a program that tells
//! what it could do; what the real one answers is tested with the gateway.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use moltbot_policy::Recorded;
use moltbot_policy::local_model::{LocalModel, LocalModelPermit, judge};
use moltbot_sandbox::{LocalModelError, LocalModelProcess, Sandbox, Stopper};

use crate::room::{Room, helper};

/// A folder with the helper in it, and the stand-in under the name of the program of local models.
#[expect(clippy::disallowed_methods, reason = "puts a program beside another one")]
fn installation(with_program: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::copy(helper(), folder.path().join("moltbot")).unwrap();
    if with_program {
        std::fs::copy(helper(), folder.path().join("moltbot-model")).unwrap();
    }
    folder
}

fn permit(room: &Room, bytes: u64) -> Recorded<LocalModelPermit> {
    let model =
        LocalModel { name: "small".into(), sha256: "0a".repeat(32), bytes, context: 2048, threads: 1 };
    moltbot_policy::record(judge(model).unwrap(), &room.ledger).unwrap()
}

/// A file that is open for reading, as the vault opens it.
#[expect(clippy::disallowed_methods, reason = "stands in for the vault")]
fn file(text: &str) -> OwnedFd {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    std::fs::File::open(file.path()).unwrap().into()
}

async fn start(
    room: &Room,
    folder: &Path,
    stopper: &Stopper,
    text: &str,
) -> Result<LocalModelProcess, LocalModelError> {
    let sandbox = Sandbox::with_stopper(folder.join("moltbot"), room.ledger.clone(), stopper.clone());
    sandbox.local_model(permit(room, 100), file(text)).await
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The book as it is on disk, once it tells of the end of a process.
async fn told_of_the_end(room: &Room) -> String {
    loop {
        let files = std::fs::read_dir(room.home.path().join("state/ledger")).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the book as it is on disk")]
        let texts = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        let book: String = texts.map(|text| String::from_utf8_lossy(&text).into_owned()).collect();
        if book.contains("model.ended") {
            return book;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn the_process_of_a_local_model_reads_its_file_and_can_do_nothing_else() {
    let (room, folder) = (Room::new(), installation(true));
    runtime().block_on(async {
        let process = start(&room, folder.path(), &Stopper::default(), "numbers").await.unwrap();
        assert_eq!(
            process.ready().architecture,
            "read 'numbers' ",
            "what it could do is told after its file"
        );
        assert_eq!((process.ready().context, process.ready().parameters), (7, 8));
        for _ in 0..3 {
            let connection = std::os::unix::net::UnixStream::from(process.connect().unwrap());
            connection.set_nonblocking(false).unwrap();
            let mut said = [0; 5];
            (&connection).read_exact(&mut said).unwrap();
            assert_eq!(&said, b"hello");
        }
        assert!(!process.has_ended());
        drop(process);
        let book = told_of_the_end(&room).await;
        assert!(book.contains("model.start") && book.contains("aborted"), "{book}");
    });
}

#[test]
fn wherever_the_process_of_a_local_model_writes_nothing_is_written() {
    let (room, folder) = (Room::new(), installation(true));
    for path in ["/tmp/x", "/workspace/x", "/dev/shm/x", "/x", "/usr/x"] {
        let ended = runtime().block_on(async {
            start(&room, folder.path(), &Stopper::default(), &format!("write {path}")).await.unwrap_err()
        });
        // It gave up, or was killed because a file would have become larger than files may, which is nothing.
        let LocalModelError::Ended { how } = &ended else { panic!("{path}: {ended:?}") };
        assert!(["exit 1", "signal 25"].contains(&how.as_str()), "{path}: {how}");
    }
}

#[test]
fn a_file_that_is_refused_is_told_without_control_characters_and_nothing_is_left() {
    let (room, folder) = (Room::new(), installation(true));
    runtime().block_on(async {
        let refused = start(&room, folder.path(), &Stopper::default(), "refuse").await.unwrap_err();
        let LocalModelError::File { code, message, .. } = &refused else { panic!("{refused:?}") };
        assert_eq!((code.as_str(), message.as_str()), ("model_hash", "it is[2J another file"));
        told_of_the_end(&room).await;
    });
}

#[test]
fn a_stop_ends_a_local_model_while_it_loads_and_nothing_starts_while_all_is_stopped() {
    let (room, folder, stopper) = (Room::new(), installation(true), Stopper::default());
    runtime().block_on(async {
        let loading = start(&room, folder.path(), &stopper, "wait");
        let stopping = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            stopper.stop().wait(Duration::from_millis(900))
        };
        let began = Instant::now();
        let (ended, killed) = tokio::join!(loading, stopping);
        assert!(matches!(ended, Err(LocalModelError::Ended { .. })), "{ended:?}");
        assert!(killed.killed > 0 && killed.left == 0, "{killed:?}");
        assert!(began.elapsed() < Duration::from_secs(20));
        let refused = start(&room, folder.path(), &stopper, "numbers").await;
        assert!(matches!(refused, Err(LocalModelError::Start { .. })), "{refused:?}");
    });
}

#[test]
fn without_its_program_or_with_one_that_others_may_change_no_model_is_run() {
    let room = Room::new();
    runtime().block_on(async {
        let folder = installation(false);
        let missing = start(&room, folder.path(), &Stopper::default(), "numbers").await.unwrap_err();
        assert!(matches!(missing, LocalModelError::Missing { .. }), "{missing:?}");
        let folder = installation(true);
        let program = folder.path().join("moltbot-model");
        #[expect(clippy::disallowed_methods, reason = "the attack: others may write it")]
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o777)).unwrap();
        let open = start(&room, folder.path(), &Stopper::default(), "numbers").await.unwrap_err();
        let why = std::error::Error::source(&open).unwrap().to_string();
        assert!(why.contains("others may write it"), "{why}");
    });
}
