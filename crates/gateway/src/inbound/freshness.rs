//! Begins a conversation anew whose time is over, before the message that comes next is kept in it.
//!
//! What was said stays, under the id that the session had. A message that was here before begins nothing, and neither does one
//! that comes while others wait.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use moltbot_policy::record_soon;
use moltbot_policy::session::{Freshness, ResetPermit};
use moltbot_protocol::message::InboundMessage;

use super::InboundError;
use crate::methods::sessions;
use crate::shared::Shared;

/// The channel of turns that nobody asked for: they keep no conversation alive, and end none.
pub(crate) const SILENT: &str = "heartbeat";

/// Begins the session of a message anew, when it is time.
pub(super) async fn freshen(shared: &Shared, message: &InboundMessage) -> Result<(), InboundError> {
    if message.channel == SILENT {
        return Ok(());
    }
    let session = &message.session;
    let Some(last) = shared.store.last_said(session, SILENT).await? else { return Ok(()) };
    let now = shared.now_ms();
    let freshness = Freshness::of(&shared.inbound.sessions, session, &message.channel);
    let last_at = |hour| last_at(hour, now, &shared.zone);
    let Some(permit) = ResetPermit::by_time(freshness, session.clone(), (last, now), last_at) else {
        return Ok(());
    };
    if shared.store.run(&message.run).await?.is_some() {
        return Ok(());
    }
    let permit = record_soon(permit, &shared.ledger).await?;
    let key = permit.permit().session();
    let id = shared.store.reset_session_since(key, (last, SILENT), now).await?;
    if let Some(id) = id {
        tracing::info!(session = %key, "a conversation is begun anew: its time was over");
        sessions::begun_anew(shared, key, &id);
    }
    Ok(())
}

/// When that hour was last, in milliseconds since the epoch.
fn last_at(hour: u8, now_ms: u64, zone: &TimeZone) -> Option<u64> {
    let now = Timestamp::from_millisecond(i64::try_from(now_ms).ok()?).ok()?.to_zoned(zone.clone());
    let today = now.date().at(i8::try_from(hour).ok()?, 0, 0, 0).to_zoned(zone.clone()).ok()?;
    let last = if today > now {
        let yesterday = now.date().checked_sub(1.day()).ok()?;
        yesterday.at(i8::try_from(hour).ok()?, 0, 0, 0).to_zoned(zone.clone()).ok()?
    } else {
        today
    };
    u64::try_from(last.timestamp().as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
    }

    #[test]
    fn the_hour_is_the_local_one_of_today_or_yesterday() {
        let paris = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (now, hour, zone, expected) in [
            ("2026-11-27T09:00:00Z", 4, &TimeZone::UTC, "2026-11-27T04:00:00Z"),
            ("2026-11-27T04:00:00Z", 4, &TimeZone::UTC, "2026-11-27T04:00:00Z"),
            ("2026-11-27T03:59:59Z", 4, &TimeZone::UTC, "2026-11-26T04:00:00Z"),
            ("2026-11-27T03:30:00Z", 4, &paris, "2026-11-27T03:00:00Z"),
            ("2026-07-01T01:59:00Z", 4, &paris, "2026-06-30T02:00:00Z"),
            // That night there was no half past two: the next moment that was.
            ("2026-03-29T09:00:00Z", 2, &paris, "2026-03-29T01:00:00Z"),
        ] {
            assert_eq!(last_at(hour, at(now), zone), Some(at(expected)), "{now} {hour}");
        }
    }
}
