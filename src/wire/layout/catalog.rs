//! The CRCs of the RevEng catalogue, by the names that it gives them.

use std::sync::OnceLock;

use crc_catalog::*;

use super::crc::Parameters;

/// The name, the parameters, and the checksum of `123456789`.
type Entry = (String, Parameters, u128);

/// `CRC_16_ISO_IEC_14443_3_A` is called `crc-16/iso-iec-14443-3-a`.
macro_rules! catalog {
    ($($name:ident)*) => {
        fn read() -> Vec<Entry> {
            vec![$((called(stringify!($name)), Parameters {
                width: $name.width,
                poly: $name.poly.into(),
                init: $name.init.into(),
                refin: $name.refin,
                refout: $name.refout,
                xorout: $name.xorout.into(),
            }, $name.check.into())),*]
        }
    };
}

catalog! {
    CRC_3_GSM CRC_3_ROHC CRC_4_G_704 CRC_4_INTERLAKEN CRC_5_EPC_C1G2 CRC_5_G_704 CRC_5_USB
    CRC_6_CDMA2000_A CRC_6_CDMA2000_B CRC_6_DARC CRC_6_G_704 CRC_6_GSM CRC_7_MMC CRC_7_ROHC CRC_7_UMTS
    CRC_8_AUTOSAR CRC_8_BLUETOOTH CRC_8_CDMA2000 CRC_8_DARC CRC_8_DVB_S2 CRC_8_GSM_A CRC_8_GSM_B
    CRC_8_HITAG CRC_8_I_432_1 CRC_8_I_CODE CRC_8_LTE CRC_8_MAXIM_DOW CRC_8_MIFARE_MAD CRC_8_NRSC_5
    CRC_8_OPENSAFETY CRC_8_ROHC CRC_8_SAE_J1850 CRC_8_SMBUS CRC_8_TECH_3250 CRC_8_WCDMA CRC_10_ATM
    CRC_10_CDMA2000 CRC_10_GSM CRC_11_FLEXRAY CRC_11_UMTS CRC_12_CDMA2000 CRC_12_DECT CRC_12_GSM
    CRC_12_UMTS CRC_13_BBC CRC_14_DARC CRC_14_GSM CRC_15_CAN CRC_15_MPT1327 CRC_16_ARC CRC_16_CDMA2000
    CRC_16_CMS CRC_16_DDS_110 CRC_16_DECT_R CRC_16_DECT_X CRC_16_DNP CRC_16_EN_13757 CRC_16_GENIBUS
    CRC_16_GSM CRC_16_IBM_3740 CRC_16_IBM_SDLC CRC_16_ISO_IEC_14443_3_A CRC_16_KERMIT CRC_16_LJ1200
    CRC_16_M17 CRC_16_MAXIM_DOW CRC_16_MCRF4XX CRC_16_MODBUS CRC_16_NRSC_5 CRC_16_OPENSAFETY_A
    CRC_16_OPENSAFETY_B CRC_16_PROFIBUS CRC_16_RIELLO CRC_16_SPI_FUJITSU CRC_16_T10_DIF CRC_16_TELEDISK
    CRC_16_TMS37157 CRC_16_UMTS CRC_16_USB CRC_16_XMODEM CRC_17_CAN_FD CRC_21_CAN_FD CRC_24_BLE
    CRC_24_FLEXRAY_A CRC_24_FLEXRAY_B CRC_24_INTERLAKEN CRC_24_LTE_A CRC_24_LTE_B CRC_24_OPENPGP
    CRC_24_OS_9 CRC_30_CDMA CRC_31_PHILIPS CRC_32_AIXM CRC_32_AUTOSAR CRC_32_BASE91_D CRC_32_BZIP2
    CRC_32_CD_ROM_EDC CRC_32_CKSUM CRC_32_ISCSI CRC_32_ISO_HDLC CRC_32_JAMCRC CRC_32_MEF CRC_32_MPEG_2
    CRC_32_XFER CRC_40_GSM CRC_64_ECMA_182 CRC_64_GO_ISO CRC_64_MS CRC_64_NVME CRC_64_REDIS CRC_64_WE
    CRC_64_XZ CRC_82_DARC
}

/// All of them, read once.
fn entries() -> &'static [Entry] {
    static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
    ENTRIES.get_or_init(read)
}

/// Names that the catalogue lists beside the first, and that are more often used.
const ALIASES: [(&str, &str); 12] = [
    ("crc-16/ccitt-false", "crc-16/ibm-3740"),
    ("crc-16/autosar", "crc-16/ibm-3740"),
    ("crc-16/ccitt", "crc-16/kermit"),
    ("crc-16/ccitt-true", "crc-16/kermit"),
    ("crc-16/x-25", "crc-16/ibm-sdlc"),
    ("crc-16/acorn", "crc-16/xmodem"),
    ("crc-16", "crc-16/arc"),
    ("crc-24", "crc-24/openpgp"),
    ("crc-24q", "crc-24/lte-a"),
    ("crc-32", "crc-32/iso-hdlc"),
    ("crc-32c", "crc-32/iscsi"),
    ("crc-64", "crc-64/ecma-182"),
];

/// The parameters of the CRC with this name.
pub(super) fn named(name: &str) -> Option<Parameters> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    entries().iter().find(|(of, ..)| of == name).map(|(_, parameters, _)| *parameters)
}

/// Every name, those of the catalogue first.
pub(super) fn names() -> Vec<String> {
    let aliases = ALIASES.iter().map(|(alias, _)| (*alias).to_string());
    entries().iter().map(|(name, ..)| name.clone()).chain(aliases).collect()
}

fn called(name: &str) -> String {
    let lower = name.to_ascii_lowercase().replace('_', "-");
    // Behind the width.
    let (at, _) = lower.match_indices('-').nth(1).expect("CRC_16_ARC");
    format!("{}/{}", &lower[..at], &lower[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::super::crc::Crc;
    use super::*;

    #[test]
    fn each_has_the_checksum_of_the_catalogue() {
        let entries = entries();
        assert!(entries.len() > 100);
        for (name, parameters, check) in entries {
            assert_eq!(named(name), Some(*parameters), "{name}");
            assert_eq!(Crc::new(*parameters).of(b"123456789"), *check, "{name}");
        }
        for (alias, name) in ALIASES {
            assert!(named(name).is_some() && named(alias) == named(name), "{alias}");
        }
        assert_eq!(named("crc-16/nope"), None);
    }

    #[test]
    fn the_values_that_people_look_up() {
        for (name, value) in [
            ("crc-16/arc", 0xbb3d),
            ("crc-16/modbus", 0x4b37),
            ("crc-16/ibm-sdlc", 0x906e),
            ("crc-16/kermit", 0x2189),
            ("crc-16/ibm-3740", 0x29b1),
            ("crc-16/xmodem", 0x31c3),
            ("crc-16/mcrf4xx", 0x6f91),
            ("crc-16/dnp", 0xea82),
            ("crc-32/iscsi", 0xe3069283),
            ("crc-32/iso-hdlc", 0xcbf43926),
        ] {
            assert_eq!(Crc::new(named(name).unwrap()).of(b"123456789"), value, "{name}");
        }
    }
}
