//! `capture.pcapng`, as an independent program reads it.

#![allow(clippy::unwrap_used)] // A test may fail.

use ci::Run;
use std::collections::BTreeMap;
use std::process::Command;

/// One captured frame.
#[derive(Debug)]
struct Frame {
    interface: String,
    /// Nanoseconds.
    time: u64,
    len: u64,
    /// ICMP type, identifier and sequence number.
    echo: Option<(u8, u32, u32)>,
}

fn nanoseconds(text: &str) -> u64 {
    let (seconds, rest) = text.split_once('.').unwrap();
    assert_eq!(rest.len(), 9, "nanoseconds: {text}");
    seconds.parse::<u64>().unwrap() * 1_000_000_000 + rest.parse::<u64>().unwrap()
}

fn number(text: &str) -> u32 {
    text.parse().unwrap()
}

/// What tshark says, or nothing when it is not installed.
fn tshark(path: &std::path::Path) -> Option<Vec<Frame>> {
    let fields = [
        "frame.interface_name",
        "frame.time_epoch",
        "frame.len",
        "icmp.type",
        "icmp.ident",
        "icmp.seq",
    ];
    let mut command = Command::new("tshark");
    // Fragments stay as they are: both tap points see the same ones.
    command.args(["-n", "-o", "ip.defragment:FALSE", "-T", "fields"]);
    command.args(["-E", "separator=|", "-E", "occurrence=f"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.arg("-r").arg(path).output().ok()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let frames = text.lines().map(|line| {
        let f: Vec<&str> = line.split('|').collect();
        Frame {
            interface: f[0].to_owned(),
            time: nanoseconds(f[1]),
            len: f[2].parse().unwrap(),
            echo: (!f[3].is_empty()).then(|| (f[3].parse().unwrap(), number(f[4]), number(f[5]))),
        }
    });
    Some(frames.collect())
}

#[test]
fn a_captured_pair_opens_in_tshark() {
    let pair = std::fs::read_to_string(ci::root().join("pair.yaml")).unwrap();
    let ended = Run::new(&format!(
        "{pair}\ncapture: [host.eth0, fpga0, board.eth0]\n"
    ))
    .arg("--time")
    .arg("lockstep")
    .end()
    .expect(0);
    let Some(frames) = tshark(&ended.dir.path().join("out/capture.pcapng")) else {
        println!("SKIP: no 'tshark' command (apt-get install tshark)");
        return;
    };
    let mut names: Vec<&str> = frames.iter().map(|f| f.interface.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, ["board.eth0", "host.eth0"]);

    // Virtual time starts with the run, so it is less than its seconds.
    assert!(frames.windows(2).all(|w| w[0].time <= w[1].time));
    let (first, last) = (frames[0].time, frames[frames.len() - 1].time);
    assert!(first > 0 && last < 300_000_000_000, "{first} to {last}");

    for name in names {
        let of = |kind: u8| {
            frames
                .iter()
                .filter(move |f| f.interface == name && f.echo.is_some_and(|e| e.0 == kind))
        };
        // Ten sizes and directions of ten requests each, and their answers.
        assert_eq!((of(8).count(), of(0).count()), (100, 100), "{name}");
        let mut lengths = BTreeMap::new();
        for frame in of(8).chain(of(0)) {
            *lengths.entry(frame.len).or_insert(0) += 1;
        }
        // 14 bytes of Ethernet, 20 of IP and 8 of ICMP around the payload; 2,048
        // bytes are two fragments, of which the first is full.
        let want: BTreeMap<u64, i32> = [98, 298, 554, 1066, 1514].map(|len| (len, 40)).into();
        assert_eq!(lengths, want, "{name}");
        let rest = frames
            .iter()
            .filter(|f| f.interface == name && f.len == 610);
        assert_eq!(rest.count(), 40, "{name}: last fragments");
        // An answer comes after its request, within the longest time that ping
        // saw.
        for request in of(8) {
            let (_, id, seq) = request.echo.unwrap();
            let mut answers =
                of(0).filter(|f| f.echo == Some((0, id, seq)) && f.len == request.len);
            let took = answers
                .find(|f| f.time > request.time)
                .map(|f| f.time - request.time)
                .unwrap();
            let longest = ended.result["checks"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|row| row["rtt_us"]["max"].as_f64())
                .fold(0.0, f64::max);
            assert!(took as f64 <= longest * 1e3, "{took} ns of {longest} us");
        }
    }
}
