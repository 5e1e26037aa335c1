//! Requests per second through WebSocket connections, beside a plain TCP server that answers as many bytes.

use std::path::Path;
use std::time::Instant;

use moltbot_testkit::home::Home;

use crate::Outcome;
use crate::gateway::Gateway;
use crate::reference::Echo;
use crate::wire::Wire;
use moltbot_testkit::figure::{Figure, Limit, Reference, median};

const ROUNDS: usize = 5;

/// How requests are sent: 100,000 of them in all, which takes long enough to be measured.
struct Load {
    connections: u32,
    each: u32,
    window: usize,
}

const LOADS: [Load; 2] =
    [Load { connections: 1, each: 100_000, window: 64 }, Load { connections: 50, each: 2_000, window: 8 }];

/// `health` and `agents.list` on one and on fifty connections.
pub(crate) async fn requests(binary: &Path) -> Outcome<Vec<Figure>> {
    let gateway = Gateway::spawn(binary, Home::empty()?)?;
    let sizer = &mut gateway.hello().await?;
    let token = gateway.token.clone();
    let mut figures = Vec::new();
    for method in ["health", "agents.list"] {
        let echo = Echo::start(sizer.sizes(method).await?)?;
        for load in &LOADS {
            let (mut ours, mut plain) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                ours.push(rate(&gateway, &token, method, load).await?);
                plain.push(echo.rate(load.connections, load.each, load.window).await?);
            }
            let plural = if load.connections == 1 { "" } else { "s" };
            let name = format!("{method} on {} connection{plural}", load.connections);
            let figure = Figure::new(name, "per second", median(ours), Limit::None);
            figures.push(figure.beside(Reference::Rate("a TCP echo".into(), median(plain))));
        }
    }
    Ok(figures)
}

async fn rate(gateway: &Gateway, token: &str, method: &str, load: &Load) -> Outcome<f64> {
    let mut wires = Vec::new();
    for _ in 0..load.connections {
        wires.push(Wire::connect(gateway.port, token).await?);
    }
    let each = usize::try_from(load.each)?;
    let began = Instant::now();
    let all = wires.iter_mut().map(|wire| wire.many(method, each, load.window));
    futures_util::future::try_join_all(all).await?;
    Ok(f64::from(load.connections) * f64::from(load.each) / began.elapsed().as_secs_f64())
}
