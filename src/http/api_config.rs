//! The configuration of the API listener.

use std::{net::SocketAddr, path::PathBuf};

/// The listener with mutual TLS.
#[derive(Debug)]
pub struct ApiConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// PEM chain of the server, own certificate first.
    pub certificate: PathBuf,
    /// PEM private key of the server.
    pub private_key: PathBuf,
    /// PEM certificates of the CAs that clients come from.
    pub client_ca: PathBuf,
    /// PEM CRLs of those CAs.
    pub client_crl: Option<PathBuf>,
    /// Whether clients are refused whose CA has only a CRL with a nextUpdate that is past.
    pub expired_crl_refuses: bool,
    /// Whether the login of the compatible API is there.
    pub compat_login: bool,
}
