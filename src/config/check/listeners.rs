//! Addresses that are listened on.

use std::net::{IpAddr, SocketAddr};

use super::Check;
use crate::http::PlainListeners;

impl Check<'_> {
    /// No two listeners want the same address and port.
    pub(super) fn listeners(&mut self, api: SocketAddr, plain: PlainListeners) {
        let named = [
            ("api.listen", Some(api)),
            ("operations.listen", plain.operations),
            ("distribution.listen", plain.distribution),
        ];
        let listeners: Vec<_> =
            named.into_iter().filter_map(|(name, address)| Some((name, address?))).collect();
        for (at, (name, address)) in listeners.iter().enumerate() {
            for (other, taken) in &listeners[..at] {
                if exclude_each_other(*address, *taken) {
                    self.problem(format!(
                        "{name}: {address} is taken by {other}, which is {taken}: one of them needs \
                         another port"
                    ));
                }
            }
        }
    }
}

/// Whether the second one that listens is told that the address is in use. Port 0 is any free port. `[::]` is
/// all of IPv4 too, unless the system says otherwise (net.ipv6.bindv6only).
fn exclude_each_other(one: SocketAddr, other: SocketAddr) -> bool {
    let is_everywhere = |ip: IpAddr| ip == IpAddr::from([0_u16; 8]);
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    let overlap = a == b
        || is_everywhere(a)
        || is_everywhere(b)
        || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()));
    one.port() != 0 && one.port() == other.port() && overlap
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_exclude_each_other_as_the_system_has_it() {
        for (one, other, wanted) in [
            ("127.0.0.1:8443", "127.0.0.1:8443", true),
            ("127.0.0.1:8443", "127.0.0.1:8080", false),
            ("127.0.0.1:8443", "127.0.0.2:8443", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:8443", "127.0.0.1:8443", true),
            ("127.0.0.1:8443", "0.0.0.0:8443", true),
            ("[::]:8443", "127.0.0.1:8443", true),
            ("[::]:8443", "0.0.0.0:8443", true),
            ("[::]:8443", "[::1]:8443", true),
            ("0.0.0.0:8443", "[::1]:8443", false),
            ("[::1]:8443", "127.0.0.1:8443", false),
            ("[::ffff:127.0.0.1]:8443", "127.0.0.1:8443", true),
        ] {
            let (one, other): (SocketAddr, SocketAddr) =
                (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(exclude_each_other(one, other), wanted, "{one} {other}");
            let listener = std::net::TcpListener::bind(SocketAddr::new(one.ip(), 0));
            // And as this machine has it, where it has the addresses.
            if let (Ok(listener), true) = (listener, one.port() == other.port() && one.port() != 0)
            {
                let port = listener.local_addr().unwrap().port();
                let second = std::net::TcpListener::bind(SocketAddr::new(other.ip(), port));
                let is_in_use =
                    second.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse);
                assert_eq!(is_in_use, wanted, "{one} {other}");
            }
        }
    }
}
