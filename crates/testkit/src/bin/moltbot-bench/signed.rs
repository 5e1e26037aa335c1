//! What the gateway spends on a sign-in with a device's signature: processor time and time, beside a flush to the disk, which
//! each of them waits for because it is in the book first.

use std::path::Path;
use std::time::Instant;

use moltbot_testkit::client::{Connect, Device, SignatureVersion};
use moltbot_testkit::home::Home;

use crate::Outcome;
use crate::gateway::Gateway;
use crate::reference::PlainFile;
use crate::wire::Wire;
use moltbot_testkit::figure::{Figure, Limit, Reference, median};

/// Sign-ins before it is measured: what is paid once, such as pairing, is paid by them.
const BEFORE: u32 = 10;

/// From the connection to `hello-ok`, one after the other. The processor time has the end of the connection before in it.
pub(crate) async fn sign_ins(binary: &Path, times: u32) -> Outcome<Vec<Figure>> {
    let gateway = Gateway::spawn(binary, Home::empty()?)?;
    drop(gateway.hello().await?);
    let device = Device::from_seed(7);
    let connect = Connect::to(gateway.port).token(&gateway.token).client("cli", "cli");
    let connect = connect.device(&device, SignatureVersion::V3);
    let mut file = PlainFile::open()?;
    let (mut wall, mut cpu, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..BEFORE + times {
        let before = gateway.cpu_ms()?;
        let began = Instant::now();
        let wire = Wire::signed(gateway.port, &connect).await?;
        let took = began.elapsed().as_secs_f64() * 1000.0;
        drop(wire);
        let flush = file.flushes(1)?;
        if n >= BEFORE {
            wall.push(took);
            plain.push(flush);
            cpu.push(gateway.cpu_ms()? - before);
        }
    }
    let name = "sign-in with a device's signature";
    Ok(vec![
        Figure::new(format!("{name}, gateway CPU"), "ms", median(cpu), Limit::AtMost(1.0)),
        Figure::new(format!("{name}, wall"), "ms", median(wall), Limit::None)
            .beside(Reference::Time("a plain write and flush of 4 KiB".into(), median(plain))),
    ])
}
