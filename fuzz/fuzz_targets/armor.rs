//! One message has one text, but for the line ends, however it is read.
#![no_main]

use std::io::{BufRead, BufReader, Read, Write};

use envelope_fuzz::memory::bounded;
use envelope_sdk::format::armor::{ArmorReader, ArmorWriter, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let small = (1 + data.len() % 7) * (1 + data.len() / 4096);
    let at_once = bounded(data.len(), || read(data, 4096));
    let piecewise = bounded(data.len(), || read(BufReader::with_capacity(small, data), small));
    assert_eq!(at_once, piecewise);
    match std::str::from_utf8(data) {
        Ok(text) => {
            let decoded = bounded(data.len(), || decode(text));
            if let Ok(bytes) = &decoded {
                assert_eq!(encode(bytes), text.replace("\r\n", "\n"));
            }
            assert_eq!(decoded.map_err(|error| error.to_string()), at_once);
        }
        Err(_) => assert!(at_once.is_err(), "armor is ASCII"),
    }

    let text = encode(data);
    assert_eq!(decode(&text).as_deref(), Ok(data));
    assert_eq!(decode(&text.replace('\n', "\r\n")).as_deref(), Ok(data));
    let mut writer = ArmorWriter::new(Vec::new()).expect("a vector");
    for piece in data.chunks(small * 9) {
        writer.write_all(piece).expect("a vector");
    }
    assert_eq!(writer.finish().expect("a vector"), text.as_bytes());
});

fn read(text: impl BufRead, step: usize) -> Result<Vec<u8>, String> {
    let mut reader = ArmorReader::new(text);
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match reader.read(&mut buffer[..step]) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) => {
                assert!(reader.read(&mut buffer).is_err(), "what failed once keeps failing");
                return Err(error.into_inner().expect("a reason").to_string());
            }
        }
    }
}
