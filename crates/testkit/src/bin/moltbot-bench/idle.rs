//! What the gateway keeps in memory while nothing happens.

use std::path::Path;
use std::time::Duration;

use moltbot_testkit::home::Home;

use crate::Outcome;
use crate::figures::{Figure, Limit};
use crate::gateway::Gateway;
use crate::wire::Wire;

/// Resident memory of a gateway that has answered one client and then rested, its sandbox probed.
pub(crate) async fn resident(binary: &Path) -> Outcome<Vec<Figure>> {
    let gateway = Gateway::spawn(binary, Home::empty()?)?;
    let _wire = gateway.hello().await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(vec![
        Figure::new("idle RSS", "MB", gateway.memory_mb("Rss:")?, Limit::AtMost(15.0)),
        Figure::new("idle PSS", "MB", gateway.memory_mb("Pss:")?, Limit::None),
    ])
}

/// Resident memory that one idle connection adds, with many of them open.
pub(crate) async fn connections(binary: &Path, count: u32) -> Outcome<Figure> {
    raise_open_files()?;
    let gateway = Gateway::spawn(binary, Home::empty()?)?;
    let first = gateway.hello().await?;
    let token = gateway.home.token().ok_or("the gateway wrote no token")?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = gateway.memory_mb("Rss:")?;
    let mut open = vec![first];
    for _ in 0..count {
        open.push(Wire::connect(gateway.port, &token).await?);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = (gateway.memory_mb("Rss:")? - before) * 1024.0 / f64::from(count);
    Ok(Figure::new(format!("memory per idle connection, {count} open"), "kB", each, Limit::AtMost(10.0)))
}

fn raise_open_files() -> Outcome<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}
