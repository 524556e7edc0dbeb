//! The addresses of the listeners.

use std::net::{IpAddr, SocketAddr};

use super::Check;
use crate::http::PlainListeners;

impl Check<'_> {
    /// Checks that no two listeners have the same address and port.
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

/// Whether the second of two listeners would fail with EADDRINUSE. Port 0 means any free port. `[::]` includes
/// all of IPv4, unless net.ipv6.bindv6only is set.
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
            // Compare with what the kernel of this machine does, if the machine has the addresses.
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
