//! The client.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use bincode::Options;

use crate::message::{
    PciAddress, PciFeature, PciFeatureInfo, PcidClientRequest, PcidClientResponse, PcidServerResponseError,
    SetFeatureInfo, SubdriverArguments, VendorSpecificCapability,
};

/// The environment variable in which a spawned driver finds the number of its channel's descriptor.
pub const CHANNEL_ENV: &str = "PCID_CLIENT_CHANNEL";

/// The longest response that is accepted, in bytes.
pub const MAX_RESPONSE: u64 = 1 << 20;

/// Where the channel of a function is.
pub fn channel_path(address: PciAddress) -> PathBuf {
    let PciAddress { segment, bus, device, function } = address;
    PathBuf::from(format!("/scheme/pci/{segment:04x}--{bus:02x}--{device:02x}.{function}/channel"))
}

/// Opens the channel of the function at `address`. One process at a time can have it.
///
/// # Errors
/// [`Error::Open`] when there is no such function or another process has its channel.
pub fn open_channel(address: PciAddress) -> Result<File, Error> {
    open(&channel_path(address))
}

fn open(path: &Path) -> Result<File, Error> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.map_err(|source| Error::Open { path: path.display().to_string(), source })
}

/// Talking to pcid failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The channel cannot be opened.
    #[error("open {path}")]
    Open {
        /// The channel.
        path: String,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The request could not be sent.
    #[error("send {request:?} to pcid")]
    Send {
        /// The request.
        request: PcidClientRequest,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The response could not be read, or ends early.
    #[error("read pcid's response to {request:?}")]
    Receive {
        /// The request.
        request: PcidClientRequest,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The response is longer than any can be.
    #[error("pcid's response to {request:?} has {len} bytes, more than {MAX_RESPONSE}")]
    TooLong {
        /// The request.
        request: PcidClientRequest,
        /// Its length.
        len: u64,
    },
    /// The response makes no sense.
    #[error("pcid's response to {request:?} is malformed: {reason}")]
    Malformed {
        /// The request.
        request: PcidClientRequest,
        /// What is wrong with it.
        reason: String,
    },
    /// The response belongs to another request.
    #[error("pcid answered {request:?} with {response}")]
    Unexpected {
        /// The request.
        request: PcidClientRequest,
        /// The response.
        response: String,
    },
    /// pcid refuses.
    #[error("pcid refused {request:?}: {reason}")]
    Refused {
        /// The request.
        request: PcidClientRequest,
        /// Why.
        reason: PcidServerResponseError,
    },
    /// An earlier failure left the channel in the middle of a message.
    #[error("the channel to pcid is out of step since an earlier failure")]
    OutOfStep,
}

/// A driver's connection to pcid for one function.
#[derive(Debug)]
pub struct PciFunctionHandle<C> {
    channel: C,
    config: SubdriverArguments,
    out_of_step: bool,
}

impl PciFunctionHandle<File> {
    /// Opens the channel of the function at `address`.
    ///
    /// # Errors
    /// [`Error::Open`] when there is no such function or another process has its channel, and as [`Self::connect`].
    pub fn connect_by_address(address: PciAddress) -> Result<Self, Error> {
        Self::connect_by_path(&channel_path(address))
    }

    /// Opens the channel at `path`.
    ///
    /// # Errors
    /// As [`Self::connect_by_address`].
    pub fn connect_by_path(path: &Path) -> Result<Self, Error> {
        Self::connect(open(path)?)
    }
}

impl<C: Read + Write> PciFunctionHandle<C> {
    /// Begins a conversation over `channel` by asking for the function's configuration.
    ///
    /// # Errors
    /// When pcid does not answer as it should.
    pub fn connect(mut channel: C) -> Result<Self, Error> {
        let request = PcidClientRequest::RequestConfig;
        match exchange(&mut channel, request)? {
            PcidClientResponse::Config(config) => {
                Ok(PciFunctionHandle { channel, config: *config, out_of_step: false })
            }
            other => Err(unexpected(request, &other)),
        }
    }

    /// What pcid knew of the function when the conversation began.
    pub fn config(&self) -> &SubdriverArguments {
        &self.config
    }

    /// The channel, of which BARs can be mapped.
    pub fn channel(&self) -> &C {
        &self.channel
    }

    /// Routes the interrupt pin and switches on memory space, I/O space and bus mastering.
    ///
    /// # Errors
    /// When pcid refuses or does not answer as it should; the same for all other requests.
    pub fn enable_device(&mut self) -> Result<(), Error> {
        self.ask(PcidClientRequest::EnableDevice, |response| match response {
            PcidClientResponse::EnabledDevice => Ok(()),
            other => Err(other),
        })
    }

    /// The features that the function has.
    ///
    /// # Errors
    /// As [`Self::enable_device`].
    pub fn fetch_all_features(&mut self) -> Result<Vec<PciFeature>, Error> {
        self.ask(PcidClientRequest::RequestFeatures, |response| match response {
            PcidClientResponse::AllFeatures(features) => Ok(features),
            other => Err(other),
        })
    }

    /// The vendor-specific capabilities, in the order of the list.
    ///
    /// # Errors
    /// As [`Self::enable_device`].
    pub fn get_vendor_capabilities(&mut self) -> Result<Vec<VendorSpecificCapability>, Error> {
        self.ask(PcidClientRequest::RequestVendorCapabilities, |response| match response {
            PcidClientResponse::VendorCapabilities(capabilities) => Ok(capabilities),
            other => Err(other),
        })
    }

    /// Switches a feature on, and the other one off.
    ///
    /// # Errors
    /// As [`Self::enable_device`].
    pub fn enable_feature(&mut self, feature: PciFeature) -> Result<(), Error> {
        self.ask(PcidClientRequest::EnableFeature(feature), |response| match response {
            PcidClientResponse::FeatureEnabled(enabled) if enabled == feature => Ok(()),
            other => Err(other),
        })
    }

    /// What pcid says of a feature.
    ///
    /// # Errors
    /// As [`Self::enable_device`].
    pub fn feature_info(&mut self, feature: PciFeature) -> Result<PciFeatureInfo, Error> {
        self.ask(PcidClientRequest::FeatureInfo(feature), |response| match response {
            PcidClientResponse::FeatureInfo(of, info) if of == feature && info.feature() == feature => {
                Ok(info)
            }
            other => Err(other),
        })
    }

    /// Changes a feature.
    ///
    /// # Errors
    /// As [`Self::enable_device`].
    pub fn set_feature_info(&mut self, info: SetFeatureInfo) -> Result<(), Error> {
        let feature = info.feature();
        self.ask(PcidClientRequest::SetFeatureInfo(info), |response| match response {
            PcidClientResponse::SetFeatureInfo(of) if of == feature => Ok(()),
            other => Err(other),
        })
    }

    /// Reads 32 bits of configuration space at `offset`, a multiple of 4.
    ///
    /// # Errors
    /// As [`Self::enable_device`].
    pub fn read_config(&mut self, offset: u16) -> Result<u32, Error> {
        self.ask(PcidClientRequest::ReadConfig(offset), |response| match response {
            PcidClientResponse::ReadConfig(value) => Ok(value),
            other => Err(other),
        })
    }

    /// Writes 32 bits of configuration space at `offset`, a multiple of 4.
    ///
    /// # Errors
    /// As [`Self::enable_device`].
    pub fn write_config(&mut self, offset: u16, value: u32) -> Result<(), Error> {
        self.ask(PcidClientRequest::WriteConfig(offset, value), |response| match response {
            PcidClientResponse::WriteConfig => Ok(()),
            other => Err(other),
        })
    }

    /// Sends a request and takes what `wanted` finds in the response; what it gives back is not an answer to this.
    fn ask<T>(
        &mut self,
        request: PcidClientRequest,
        wanted: impl FnOnce(PcidClientResponse) -> Result<T, PcidClientResponse>,
    ) -> Result<T, Error> {
        if self.out_of_step {
            return Err(Error::OutOfStep);
        }
        // Set for good by whatever fails in the middle of the exchange.
        self.out_of_step = true;
        let response = exchange(&mut self.channel, request)?;
        let answer = wanted(response).map_err(|other| match other {
            PcidClientResponse::Error(reason) => Error::Refused { request, reason },
            other => unexpected(request, &other),
        });
        self.out_of_step = matches!(answer, Err(Error::Unexpected { .. }));
        answer
    }
}

/// As upstream: little-endian integers of fixed width; and no bytes behind the message.
fn format() -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding().with_limit(MAX_RESPONSE)
}

fn exchange<C: Read + Write>(
    channel: &mut C,
    request: PcidClientRequest,
) -> Result<PcidClientResponse, Error> {
    let malformed = |error: bincode::Error| Error::Malformed { request, reason: error.to_string() };
    let bytes = format().serialize(&request).map_err(malformed)?;
    // One write is one request: pcid does not put pieces together.
    let sent = channel.write(&bytes).and_then(|len| {
        if len == bytes.len() { channel.flush() } else { Err(io::ErrorKind::WriteZero.into()) }
    });
    sent.map_err(|source| Error::Send { request, source })?;

    let mut len = [0; 8];
    channel.read_exact(&mut len).map_err(|source| Error::Receive { request, source })?;
    let len = u64::from_le_bytes(len);
    let room = usize::try_from(len).ok().filter(|_| len <= MAX_RESPONSE);
    let mut bytes = vec![0; room.ok_or(Error::TooLong { request, len })?];
    channel.read_exact(&mut bytes).map_err(|source| Error::Receive { request, source })?;
    format().deserialize(&bytes).map_err(malformed)
}

fn unexpected(request: PcidClientRequest, response: &PcidClientResponse) -> Error {
    const MOST: usize = 120;
    let mut text = format!("{response:?}");
    // What pcid says is ASCII when printed like this, so that any index is a boundary.
    text.truncate(MOST);
    Error::Unexpected { request, response: text }
}
