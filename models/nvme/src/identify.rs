//! The Identify command (section 5.15).

use nvme_spec::{
    Cns, IdentifierType, IdentifyCdw10, IdentifyController, NamespaceList, OptionalNvmCommands,
    QueueEntrySize, SglSupport, Status, WriteCache, registers::Vs,
};
use redox_driver_sys::model::Bus;
use zerocopy::{FromZeros, IntoBytes};

use crate::{
    controller::{Command, Controller, Reply},
    namespace::{Namespace, OUI},
};

const LEN: usize = 4096;

impl Controller {
    pub(crate) fn identify(&mut self, bus: &mut dyn Bus, command: &Command) -> Reply {
        let nsid = command.entry.nsid;
        let mut data = match Cns(IdentifyCdw10::from(command.entry.cdw10).cns()) {
            Cns::NAMESPACE | Cns::ALLOCATED_NAMESPACE => self.identify_namespace(nsid)?,
            Cns::CONTROLLER => self.identify_controller().as_bytes().to_vec(),
            Cns::ACTIVE_NAMESPACES | Cns::ALLOCATED_NAMESPACES => self.list_namespaces(nsid)?,
            Cns::NAMESPACE_IDENTIFIERS => self.identifiers(nsid)?,
            _ => return Err(Status::INVALID_FIELD),
        };
        self.send(bus, command, &mut data)?;
        Ok(0)
    }

    /// The structure is all zeroes for a namespace that is not active.
    fn identify_namespace(&self, nsid: u32) -> Result<Vec<u8>, Status> {
        if nsid == 0 || nsid > self.config.nn {
            return Err(Status::INVALID_NAMESPACE);
        }
        let namespace = self.namespaces.get(&nsid).map(|namespace| namespace.identify(nsid));
        Ok(namespace.map_or_else(|| vec![0; LEN], |data| data.as_bytes().to_vec()))
    }

    fn list_namespaces(&self, after: u32) -> Result<Vec<u8>, Status> {
        if after >= 0xffff_fffe {
            return Err(Status::INVALID_NAMESPACE);
        }
        let list: NamespaceList = self.namespaces.range(after + 1..).map(|(&nsid, _)| nsid).collect();
        Ok(list.as_bytes().to_vec())
    }

    fn identifiers(&self, nsid: u32) -> Result<Vec<u8>, Status> {
        if nsid == 0 || nsid > self.config.nn {
            return Err(Status::INVALID_NAMESPACE);
        }
        if !self.namespaces.contains_key(&nsid) {
            return Err(Status::INVALID_FIELD);
        }
        let mut data = Vec::with_capacity(LEN);
        let mut add = |kind: IdentifierType, value: &[u8]| {
            data.extend([kind.0, u8::try_from(value.len()).unwrap_or(0), 0, 0]);
            data.extend(value);
        };
        add(IdentifierType::NGUID, &Namespace::nguid(nsid));
        add(IdentifierType::EUI64, &Namespace::eui64(nsid));
        data.resize(LEN, 0);
        Ok(data)
    }

    fn identify_controller(&self) -> IdentifyController {
        let config = &self.config;
        let (major, minor) = config.version;
        let mut data = IdentifyController::new_zeroed();
        data.vid = config.ids.vendor;
        data.ssvid = config.ids.subsystem_vendor;
        set_ascii(&mut data.sn, &config.serial);
        set_ascii(&mut data.mn, &config.model);
        set_ascii(&mut data.fr, &config.firmware);
        data.rab = 6;
        data.ieee = [OUI[2], OUI[1], OUI[0]];
        data.mdts = config.mdts;
        data.cntlid = 1;
        data.ver = Vs::version(major, minor).into();
        data.rtd3e = u32::try_from(config.latency.shutdown.as_micros()).unwrap_or(u32::MAX);
        data.oaes = 1 << 8;
        data.cntrltype = 1;
        data.acl = config.abort_limit;
        data.aerl = config.event_limit;
        // One slot, read only.
        data.frmw = 1 << 1 | 1;
        data.lpa = 1 << 2;
        data.elpe = config.error_log;
        data.npss = u8::try_from(config.power_states.len().saturating_sub(1)).unwrap_or(31).min(31);
        data.apsta = config.apst.into();
        (data.wctemp, data.cctemp) = config.temperatures;
        data.hmpre = config.host_memory.preferred;
        data.hmmin = config.host_memory.minimum;
        data.hmminds = config.host_memory.descriptor_minimum;
        data.hmmaxd = config.host_memory.descriptors;
        let sizes = |(least, most)| QueueEntrySize::new().with_required(least).with_largest(most);
        (data.sqes, data.cqes) = (sizes(config.sqes), sizes(config.cqes));
        data.nn = config.nn;
        data.oncs = OptionalNvmCommands::new()
            .with_compare(config.compare)
            .with_dataset_management(config.dataset_management)
            .with_write_zeroes(config.write_zeroes)
            .with_save_features(true)
            .with_timestamp(true);
        data.vwc = WriteCache::new().with_present(config.write_cache).with_flush_all(3);
        data.sgls = SglSupport::new().with_support(config.sgl.into()).with_bit_bucket(config.sgl);
        let name = format!("nqn.2014.08.org.nvmexpress:model:{}", config.serial);
        for (byte, character) in data.subnqn.iter_mut().zip(name.bytes().take(223)) {
            *byte = character;
        }
        for (slot, state) in data.psd.iter_mut().zip(&config.power_states) {
            *slot = *state;
        }
        data
    }
}

/// ASCII fields are padded with spaces (section 1.8).
fn set_ascii(field: &mut [u8], text: &str) {
    field.fill(b' ');
    for (byte, character) in field.iter_mut().zip(text.bytes()) {
        *byte = character;
    }
}
