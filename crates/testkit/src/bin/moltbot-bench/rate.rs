//! Requests per second through WebSocket connections.

use std::path::Path;
use std::time::Instant;

use moltbot_testkit::home::Home;

use crate::Outcome;
use crate::figures::{Figure, Limit, median};
use crate::gateway::Gateway;
use crate::wire::Wire;

const WINDOW: usize = 64;
const ROUNDS: usize = 5;

/// `health` and `agents.list` on one and on fifty connections.
pub(crate) async fn requests(binary: &Path) -> Outcome<Vec<Figure>> {
    let gateway = Gateway::spawn(binary, Home::empty()?)?;
    let mut one = gateway.hello().await?;
    let token = gateway.home.token().ok_or("the gateway wrote no token")?;
    let mut figures = Vec::new();
    for method in ["health", "agents.list"] {
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            rates.push(rate(&mut one, method, 20_000).await?);
        }
        figures.push(Figure::new(
            format!("{method} on 1 connection"),
            "per second",
            median(rates),
            Limit::None,
        ));
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            rates.push(fifty(&gateway, &token, method).await?);
        }
        figures.push(Figure::new(
            format!("{method} on 50 connections"),
            "per second",
            median(rates),
            Limit::None,
        ));
    }
    Ok(figures)
}

async fn rate(wire: &mut Wire, method: &str, times: u32) -> Outcome<f64> {
    let began = Instant::now();
    wire.many(method, usize::try_from(times)?, WINDOW).await?;
    Ok(f64::from(times) / began.elapsed().as_secs_f64())
}

async fn fifty(gateway: &Gateway, token: &str, method: &str) -> Outcome<f64> {
    let mut wires = Vec::new();
    for _ in 0..50 {
        wires.push(Wire::connect(gateway.port, token).await?);
    }
    let began = Instant::now();
    let all = wires.iter_mut().map(|wire| wire.many(method, 400, 8));
    futures_util::future::try_join_all(all).await?;
    Ok(20_000.0 / began.elapsed().as_secs_f64())
}
