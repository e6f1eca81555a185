//! TAP interfaces and the kernel's virtio-net back end.

use super::{Finding, Health, Node, open};

/// CAP_NET_ADMIN (capabilities(7)).
const NET_ADMIN: u32 = 12;

pub(super) fn tap() -> Finding {
    let (health, found, used, advice) = match open("/dev/net/tun") {
        Node::Usable if capable(NET_ADMIN) => (
            Health::Good,
            "/dev/net/tun is usable, and this user may create interfaces".to_owned(),
            "'tap: NAME' creates NAME, or uses it if it is there",
            None,
        ),
        Node::Usable => (
            Health::Good,
            "/dev/net/tun is usable, for interfaces that this user owns".to_owned(),
            "'tap: NAME' uses NAME if it belongs to this user",
            Some(
                "make one: sudo ip tuntap add mode tap vnet_hdr user $USER name tap0; sudo ip link set tap0 up",
            ),
        ),
        Node::Absent => (
            Health::Missing,
            "there is no /dev/net/tun".to_owned(),
            NONE,
            Some("load the module: sudo modprobe tun"),
        ),
        Node::Denied => (
            Health::Missing,
            "no permission for /dev/net/tun".to_owned(),
            NONE,
            Some("run as root, or: sudo chmod 666 /dev/net/tun"),
        ),
        Node::Failed(error) => (
            Health::Missing,
            format!("/dev/net/tun: {error}"),
            NONE,
            Some("see the kernel's log (dmesg)"),
        ),
    };
    Finding {
        what: "TAP",
        health,
        found,
        used: used.to_owned(),
        advice: advice.map(str::to_owned),
    }
}

const NONE: &str = "cards, links and loopback work without; 'tap:' does not";

pub(super) fn vhost_net() -> Finding {
    let (health, found, advice) = match open("/dev/vhost-net") {
        Node::Usable => (Health::Good, "/dev/vhost-net is usable".to_owned(), None),
        Node::Absent => (
            Health::Replaced,
            "there is no /dev/vhost-net".to_owned(),
            Some("load the module: sudo modprobe vhost_net"),
        ),
        Node::Denied => (
            Health::Replaced,
            "no permission for /dev/vhost-net".to_owned(),
            Some("join the group of /dev/vhost-net (ls -l shows it), or run as root"),
        ),
        Node::Failed(error) => (
            Health::Replaced,
            format!("/dev/vhost-net: {error}"),
            Some("see the kernel's log (dmesg)"),
        ),
    };
    let used = if health == Health::Good {
        "for NICs that ask for it"
    } else {
        "'tap:' does the same in this process"
    };
    Finding {
        what: "vhost-net",
        health,
        found,
        used: used.to_owned(),
        advice: advice.map(str::to_owned),
    }
}

/// Whether this process has a capability.
fn capable(capability: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    has_capability(&status, capability)
}

fn has_capability(status: &str, capability: u32) -> bool {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = set.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    set.is_some_and(|set| set >> capability & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities() {
        let status = "Name:\tvmm\nCapPrm:\t0000000000001000\nCapEff:\t0000000000001000\n";
        assert!(has_capability(status, NET_ADMIN));
        assert!(!has_capability(status, 11));
        assert!(!has_capability(
            "CapPrm:\t0000000000001000\nCapEff:\t0000000000000000\n",
            NET_ADMIN
        ));
        assert!(!has_capability("", NET_ADMIN));
    }
}
