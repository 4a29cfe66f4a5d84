//! Where the site's listening socket comes from.

use std::{net::SocketAddr, str::FromStr};

use crate::domain::NameError;

/// Where the site's listening socket comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// The site opens it, at this address.
    Address(SocketAddr),
    /// Whoever starts the site has opened it and hands it over as standard input. It outlives the site, so that while
    /// one release ends and the next one starts those who connect wait, and nobody is refused.
    Stdin,
}

impl Listen {
    /// The address, where the site opens the socket.
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Stdin => None,
        }
    }
}

impl FromStr for Listen {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "stdin" {
            return Ok(Self::Stdin);
        }
        let wrong =
            || NameError::new("this is neither an address with a port, like 127.0.0.1:8000, nor `stdin`");
        text.parse().map(Self::Address).map_err(|_| wrong())
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Stdin => f.write_str("stdin"),
        }
    }
}
