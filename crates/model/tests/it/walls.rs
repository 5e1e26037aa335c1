//! The walls, as the kernel tells them from outside. What they refuse is tried within them, in the library's own tests.

use serde_json::json;

use crate::files::{File, Then};
use crate::process::{Model, request};

#[test]
fn a_ready_model_has_a_filter_of_system_calls_on_every_thread_and_no_new_rights() {
    let model = Model::ready(&File::script(&["Hello"], Then::End).bytes());
    for _ in 0..2 {
        let status = model.status();
        for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "Threads:\t2"] {
            assert!(status.lines().any(|found| found == line), "{line} is not in {status}");
        }
        assert_eq!(model.chat(&request("Hi", json!({}))).0, 200);
    }
}

#[test]
fn as_many_threads_compute_as_were_asked_for() {
    for threads in [1_usize, 2, 3] {
        let (model, said) =
            Model::load_with(&File::script(&["Hello"], Then::End).bytes(), json!({ "threads": threads }));
        assert!(said["ready"].is_object(), "{said}");
        assert_eq!(model.chat(&request("Hi", json!({}))).0, 200);
        // One that takes connections, one that speaks, and for each further one a helper of either kind of the engine's.
        let expected = format!("Threads:\t{}", 2 + 2 * (threads - 1));
        let status = model.status();
        assert!(status.lines().any(|found| found == expected), "{expected} is not in {status}");
    }
}
