//! The layouts that come with the program.

use std::sync::OnceLock;

use super::Layouts;

/// Their names and declarations, in the order of their names.
pub const BUILTIN: &[(&str, &str)] = &[
    ("amqp", include_str!("builtin/amqp.toml")),
    ("bitcoin", include_str!("builtin/bitcoin.toml")),
    ("fix", include_str!("builtin/fix.toml")),
    ("generic-crc32", include_str!("builtin/generic-crc32.toml")),
    ("generic-sha256", include_str!("builtin/generic-sha256.toml")),
    ("gt06", include_str!("builtin/gt06.toml")),
    ("jt808", include_str!("builtin/jt808.toml")),
    ("lines-nmea", include_str!("builtin/lines-nmea.toml")),
    ("modbus-tcp", include_str!("builtin/modbus-tcp.toml")),
    ("netstring", include_str!("builtin/netstring.toml")),
    ("protobuf", include_str!("builtin/protobuf.toml")),
    ("rtcm3", include_str!("builtin/rtcm3.toml")),
    ("syslog", include_str!("builtin/syslog.toml")),
    ("teltonika", include_str!("builtin/teltonika.toml")),
    ("ubx", include_str!("builtin/ubx.toml")),
];

/// All of them, compiled once.
pub fn builtin() -> &'static Layouts {
    static COMPILED: OnceLock<Layouts> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let all: String = BUILTIN.iter().map(|(_, text)| *text).collect();
        // A test looks at each: those that come with the program are right.
        Layouts::parse(&all, "built in").map(|(layouts, _)| layouts).unwrap_or_default()
    })
}
