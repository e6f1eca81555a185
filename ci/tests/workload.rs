//! Real programs in each guest give right results.

#![allow(clippy::unwrap_used)] // A test may fail.

use ci::Run;

/// Commands and a word that their output must contain. Expected values are
/// facts of mathematics or published test vectors.
const WORK: &[(&str, &str)] = &[
    // FIPS 180-4: SHA-256 of "abc"; RFC 1321: MD5 of "abc".
    (
        "printf abc | sha256sum",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ),
    ("printf abc | md5sum", "900150983cd24fb0d6963f7d28e17f72"),
    (
        "seq 1 100000 | awk '{ s += $1 } END { print s }'",
        "5000050000",
    ),
    (
        "awk 'BEGIN { printf \"%.10f %.3e %g\\n\", 355 / 113, 12345.678, 1e100 }'",
        "3.1415929204 1.235e+04 1e+100",
    ),
    // Newton's iteration for the square root of two.
    (
        "awk 'BEGIN { x = 1; for (i = 0; i < 20; i++) x = (x + 2 / x) / 2; printf \"%.12f\\n\", x }'",
        "1.414213562373",
    ),
    (
        "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done; echo $i",
        "200",
    ),
    (
        "dd if=/dev/zero of=/tmp/z bs=1M count=20 2>/dev/null && wc -c < /tmp/z",
        "20971520",
    ),
    ("echo 'c2VjcmV0' | base64 -d", "secret"),
    ("printf '3\\n1\\n2\\n' | sort | tr -d '\\n'", "123"),
    ("echo $((6 * 7)) | sed 's/4/forty-/'", "forty-2"),
    // Twenty MiB through gzip and back.
    (
        "dd if=/dev/urandom of=/tmp/r bs=1M count=20 2>/dev/null; a=$(md5sum < /tmp/r); b=$(gzip -1 < /tmp/r | gunzip | md5sum); [ \"$a\" = \"$b\" ] && echo same",
        "same",
    ),
    // Reading everything the kernel shows; what does not end is cut short.
    (
        "find /proc /sys -type f ! -name kmsg ! -name 'trace_pipe*' ! -name kcore ! -name pagemap 2>/dev/null | xargs -n 200 timeout 20 head -c 512 >/dev/null 2>&1; echo read",
        "read",
    ),
    (
        "dmesg | grep -icE 'oops|BUG:|Call trace|unhandled' || true",
        "0",
    ),
];

fn work(arch: &str) {
    let mut yaml = format!("guests:\n  g: {{ arch: {arch}, memory: 512M }}\nchecks:\n");
    for (command, want) in WORK {
        yaml += &format!(
            "  - run: {{ guest: g, command: {}, expect_output: {}, timeout: 300s }}\n",
            serde_json::to_string(command).unwrap(),
            serde_json::to_string(want).unwrap()
        );
    }
    let ended = Run::new(&yaml).end();
    for row in ended.result["checks"]
        .as_array()
        .cloned()
        .unwrap_or_default()
    {
        assert_eq!(row["passed"], true, "{row}");
    }
    ended.expect(0);
}

#[test]
fn on_the_board() {
    work("aarch64");
}

#[test]
fn on_the_host() {
    work("x86_64");
}

#[test]
fn agent_carries_a_mebibyte_and_a_long_command() {
    for arch in ["aarch64", "x86_64"] {
        let long = format!("printf %s {} | wc -c", "x".repeat(60_000));
        let yaml = format!(
            "guests:\n  g: {{ arch: {arch} }}\nchecks:\n  - run: {{ guest: g, command: 'yes 0123456789abcde | head -c 1048576', expect_output: '0123456789abcde' }}\n  - run: {{ guest: g, command: {}, expect_output: '60000' }}\n",
            serde_json::to_string(&long).unwrap()
        );
        let ended = Run::new(&yaml).end().expect(0);
        assert_eq!(
            ended.result["checks"][0]["output"].as_str().unwrap().len(),
            1 << 20,
            "{arch}"
        );
    }
}
