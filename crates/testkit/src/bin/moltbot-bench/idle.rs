//! What the gateway keeps in memory while nothing happens.

use std::path::Path;
use std::time::Duration;

use moltbot_testkit::home::Home;

use crate::Outcome;
use crate::gateway::Gateway;
use crate::wire::Wire;
use moltbot_testkit::figure::{Figure, Limit, median};

/// Resident memory of a gateway that has answered one client and then rested, its sandbox probed. One gateway at a
/// time: two would share their pages, and so their PSS.
pub(crate) async fn resident(binary: &Path, times: usize) -> Outcome<Vec<Figure>> {
    let (mut rss, mut pss) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let gateway = Gateway::spawn(binary, Home::empty()?)?;
        let _wire = gateway.hello().await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        rss.push(gateway.memory_mb("Rss:")?);
        pss.push(gateway.memory_mb("Pss:")?);
    }
    Ok(vec![
        Figure::new("idle RSS", "MB", median(rss), Limit::AtMost(15.0)),
        Figure::new("idle PSS", "MB", median(pss), Limit::None),
    ])
}

/// Resident memory that one idle connection adds, with many of them open.
pub(crate) async fn connections(binary: &Path, count: u32, times: usize) -> Outcome<Figure> {
    raise_open_files()?;
    let mut each = Vec::new();
    for _ in 0..times {
        each.push(per_connection(binary, count).await?);
    }
    let name = format!("memory per idle connection, {count} open");
    Ok(Figure::new(name, "kB", median(each), Limit::AtMost(10.0)))
}

async fn per_connection(binary: &Path, count: u32) -> Outcome<f64> {
    let gateway = Gateway::spawn(binary, Home::empty()?)?;
    let first = gateway.hello().await?;
    let token = gateway.token.clone();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = gateway.memory_mb("Rss:")?;
    let mut open = vec![first];
    for _ in 0..count {
        open.push(Wire::connect(gateway.port, &token).await?);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok((gateway.memory_mb("Rss:")? - before) * 1024.0 / f64::from(count))
}

fn raise_open_files() -> Outcome<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}
