//! What `token add --qr` shows: the gateway's address with the fingerprint of its certificate, and the token.
//!
//! The first code is a URL for the phone to open. The fingerprint is in its fragment, which browsers send to no server. The
//! token is in no URL, for a browser's history would keep it: it has a code of its own, as plain text.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
};

use anyhow::Context;
use zeroize::Zeroizing;

use super::qr;
use crate::{
    config::{Config, Tls},
    sys,
    tls::{Pem, fingerprint},
};

/// Shows the codes on standard error, where it is a terminal.
///
/// # Errors
/// It cannot be written to.
pub fn show(config: &Config, token: &str) -> anyhow::Result<()> {
    let mut out = io::stderr().lock();
    if !out.is_terminal() {
        let message =
            "no codes are drawn: --qr needs a terminal as standard error. The token itself was printed";
        return Ok(writeln!(out, "{message}")?);
    }
    let listen = config.http.listen;
    let hosts = hosts(listen);
    let scheme = config.http.scheme();
    let addresses: Vec<String> = hosts.iter().map(|host| format!("{scheme}://{host}/")).collect();
    let (address, others) = addresses.split_first().context("there is always one")?;
    writeln!(out, "\nThe gateway: {address}")?;
    for other in others {
        writeln!(out, "         or: {other}")?;
    }
    if listen.ip().is_loopback() {
        writeln!(
            out,
            "A phone cannot reach {}: set http.listen = \"0.0.0.0:{}\" if it should.",
            listen.ip(),
            listen.port()
        )?;
    }
    let code = match own_fingerprint(config) {
        Ok(None) => address.clone(),
        Ok(Some(fingerprint)) => {
            let (first, second) = fingerprint.split_at(fingerprint.len().div_ceil(2));
            writeln!(
                out,
                "SHA-256 fingerprint of its certificate, to compare before you accept the browser's warning:"
            )?;
            writeln!(out, "  {first}\n  {second}")?;
            format!("{address}#sha256={}", fingerprint.replace(':', ""))
        }
        Err(error) => {
            writeln!(
                out,
                "The fingerprint of its certificate is not known: {}.",
                crate::domain::with_causes(&*error)
            )?;
            address.clone()
        }
    };
    write!(out, "{}", qr::drawn(&code)?)?;
    writeln!(
        out,
        "\nThe token. Scan it with an app that works offline: a camera app that looks up what it sees on the web gives the\n\
         token away. Clear the screen afterwards: anybody who sees this code can use the token."
    )?;
    write!(out, "{}", qr::drawn(token)?)?;
    Ok(())
}

/// Returns where the endpoint can be reached, as host and port, the likeliest first; the machine's name under `.local`
/// where there is no address yet.
fn hosts(listen: SocketAddr) -> Vec<String> {
    let mut hosts: Vec<String> = sys::reached_at(listen).iter().map(SocketAddr::to_string).collect();
    if hosts.is_empty() {
        let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        hosts.push(format!("{}.local:{}", name.as_deref().unwrap_or("localhost"), listen.port()));
    }
    hosts
}

/// Returns the fingerprint of the endpoint's certificate; `None` without TLS.
fn own_fingerprint(config: &Config) -> anyhow::Result<Option<String>> {
    let path = match &config.http.tls {
        Tls::Off => return Ok(None),
        Tls::SelfSigned => config.gateway.state_dir.join("tls/cert.pem"),
        Tls::Files(files) => files.cert_file.path()?,
    };
    let read = fs::read(&path).with_context(|| match config.http.tls {
        Tls::SelfSigned => {
            format!("cannot read {}, which the daemon creates when it first serves", path.display())
        }
        _ => format!("cannot read {}", path.display()),
    })?;
    let pem = Pem::new(path.display().to_string(), Zeroizing::new(read));
    Ok(pem.certificates()?.first().map(fingerprint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_listened_on_is_the_one_to_go_to() {
        for (listen, host) in [
            ("192.0.2.7:8443", "192.0.2.7:8443"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[2001:db8::7]:8443", "[2001:db8::7]:8443"),
        ] {
            assert_eq!(hosts(listen.parse().unwrap()), [host]);
        }
    }

    #[test]
    fn there_is_always_one() {
        for listen in ["0.0.0.0:8443", "[::]:8443"] {
            let hosts = hosts(listen.parse().unwrap());
            assert!(!hosts.is_empty() && hosts.iter().all(|host| host.ends_with(":8443")), "{hosts:?}");
        }
    }
}
