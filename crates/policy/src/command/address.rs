//! Addresses in the words of a command, in every way in which programs read them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What an address leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reached {
    /// The manager of a cluster.
    Kubelet,
    /// The metadata of a cloud.
    Metadata,
    /// A container runtime.
    Runtime,
}

/// What the address in a word leads to. `written` is the word before variables were put in.
pub(super) fn reached(text: &str, written: &str) -> Option<Reached> {
    // Most words are shorter, which is told sooner than what is in them.
    let has = |text: &str, name: &str| text.len() >= name.len() && text.contains(name);
    let has_dot = text.bytes().any(|byte| byte == b'.');
    if has(written, "KUBERNETES_SERVICE_HOST") || has(text, "kubernetes.default.svc") {
        return Some(Reached::Kubelet);
    }
    if has_dot && names_metadata(text) {
        return Some(Reached::Metadata);
    }
    if !text.contains(['.', ':']) && !text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'x') {
        return None;
    }
    let host = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = host.split(['/', '?', '#']).next().unwrap_or(host);
    let host = host.rsplit('@').next().unwrap_or(host);
    let (host, port) = split_port(host);
    match port {
        Some("10250" | "10255" | "10256") => return Some(Reached::Kubelet),
        Some("2375" | "2376")
            if text.contains("://")
                || !text.starts_with(|c: char| c.is_ascii_digit())
                || host.contains('.') =>
        {
            return Some(Reached::Runtime);
        }
        _ => {}
    }
    let host = host.trim_end_matches('.');
    // A plain number is an address only where a whole address is expected.
    let bare = host == text;
    (is_metadata_name(host) || is_metadata_number(host, bare)).then_some(Reached::Metadata)
}

/// An address of the cloud within a longer word: of `--resolve`, of a tunnel, or one whose rest is put in later. Wildcards
/// of `curl` are taken off: `{254}`, `[4-4]`.
fn names_metadata(text: &str) -> bool {
    let Some((before, rest)) = text.split_once("169.254.") else { return false };
    let begins = !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    // Behind a slash it is the name of a file, unless it is the host.
    let host = !before.ends_with('/') || before.ends_with("//");
    let plain: String = rest.chars().filter(|c| !matches!(c, '{' | '}' | '[' | ']' | '\\')).collect();
    let wild = plain.starts_with(super::word::UNKNOWN);
    let address = plain.starts_with("169.") || plain.starts_with("170.");
    begins && host && (wild || address) && text.contains([':', '{', '[', super::word::UNKNOWN])
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    if let Some((inner, rest)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (inner, rest.strip_prefix(':'));
    }
    match host.split_once(':') {
        Some((name, port)) if !port.contains(':') => (name, Some(port)),
        _ => (host, None),
    }
}

fn is_metadata_name(host: &str) -> bool {
    let host = super::patterns::composed(host).to_ascii_lowercase();
    matches!(
        host.as_str(),
        "metadata.google.internal"
            | "metadata.goog"
            | "instance-data"
            | "instance-data.ec2.internal"
            | "metadata.azure.internal"
            | "metadata.tencentyun.com"
    ) || ["169.254.169.254", "169-254-169-254", "a9fea9fe"].iter().any(|name| {
        host.starts_with(name)
            && (host.ends_with(".nip.io") || host.ends_with(".sslip.io") || host.ends_with(".xip.io"))
    })
}

fn is_metadata_number(host: &str, bare: bool) -> bool {
    if host.contains(':') {
        return host.parse::<Ipv6Addr>().is_ok_and(|address| {
            address.to_ipv4().is_some_and(is_metadata)
                || host.eq_ignore_ascii_case("fd00:ec2::254")
                || address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
        });
    }
    let composed = super::patterns::composed(host);
    let parts: Vec<&str> = composed.split('.').collect();
    if parts.len() == 1 && bare && !host.starts_with("0x") && host.len() < 10 {
        return false;
    }
    address(&parts).is_some_and(is_metadata)
}

const fn is_metadata(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [169, 254, 169 | 170, _] | [100, 100, 100, 200] | [192, 0, 0, 192])
}

/// An address as the C library reads it: one to four numbers, decimal, octal or hexadecimal, the last one taking the rest.
fn address(parts: &[&str]) -> Option<Ipv4Addr> {
    let (last, first) = parts.split_last()?;
    if first.len() > 3 {
        return None;
    }
    let mut value = 0_u32;
    for part in first {
        let byte = number(part).filter(|byte| *byte < 256)?;
        value = (value << 8) | byte;
    }
    let bits = 32_u32.saturating_sub(8_u32.saturating_mul(u32::try_from(first.len()).ok()?));
    let rest = number(last)?;
    if bits < 32 {
        if u64::from(rest) >= 1_u64 << bits {
            return None;
        }
        value <<= bits;
    }
    Some(Ipv4Addr::from(value | rest))
}

fn number(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if lower.len() > 1 && lower.starts_with('0') => u32::from_str_radix(&lower, 8).ok(),
        None => lower.parse().ok().filter(|_| lower.chars().all(|c| c.is_ascii_digit())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_seen_in_every_way_to_write_it() {
        for text in [
            "http://169.254.169.254/latest",
            "169.254.169.254",
            "http://2852039166/",
            "http://0xA9FEA9FE/",
            "http://0xA9.0xFE.0xA9.0xFE/x",
            "http://0251.0376.0251.0376/",
            "http://169.254.43518/",
            "http://[fd00:ec2::254]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[::ffff:a9fe:a9fe]:80/",
            "http://METADATA.google.internal/x",
            "http://a@169.254.169.254:80/",
            "http://169.254.169.254./",
            "http://169.254.170.2/v2",
            "http://100.100.100.200/",
            "http://169.254.169.254.nip.io/",
            "http://\u{ff11}69.254.169.254/",
        ] {
            assert_eq!(reached(text, text), Some(Reached::Metadata), "{text}");
        }
        for (text, expected) in [
            ("https://10.0.0.1:10250/pods", Some(Reached::Kubelet)),
            ("tcp://10.0.0.1:2375", Some(Reached::Runtime)),
            ("10.0.0.1:2376", Some(Reached::Runtime)),
            ("http://127.0.0.1:8080/healthz", None),
            ("https://example.org/169.254.169.254.html", None),
            ("12", None),
            ("a.b.c", None),
            ("1.2.3", None),
            ("10:20", None),
        ] {
            assert_eq!(reached(text, text), expected, "{text}");
        }
    }
}
