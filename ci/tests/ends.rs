//! How a run ends when something is in its way: killed, interrupted early, a
//! full disk, no image.

#![allow(clippy::unwrap_used)] // A test may fail.
#![allow(unsafe_code)] // A signal is sent to a child.

use ci::{Run, pair, vmm};
use std::path::Path;
use std::process::{Command, Output};

/// Whether this process may make namespaces; says SKIP if not.
fn namespaces() -> bool {
    let made = Command::new("unshare").args(["-mn", "true"]).output();
    let able = made.is_ok_and(|output| output.status.success());
    if !able {
        eprintln!("SKIP: making a mount and a network namespace needs root and util-linux");
    }
    able
}

/// Runs a shell script in namespaces of its own, with `$VMM`, `$TOPOLOGY` and
/// `$DIR`.
fn in_namespaces(script: &str, topology: &Path, dir: &Path) -> (i32, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new("unshare")
        .args(["-mn", "sh", "-c", script])
        .env("VMM", vmm())
        .env("TOPOLOGY", topology)
        .env("DIR", dir)
        .output()
        .unwrap();
    let text = [stdout, stderr].concat();
    (
        status.code().unwrap_or(-1),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// The kernel takes back all that the monitor held: nothing waits for a clean
/// up that a killed process cannot do.
#[test]
fn a_killed_monitor_leaves_nothing_behind() {
    if !namespaces() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let yaml = "
guests:
  host:
    arch: x86_64
    nics: [{ card: fpga0, address: 10.10.10.1/24 }, { tap: vmmtest0 }]
  board: { arch: aarch64, nics: [{ card: fpga0, address: 10.10.10.5/24 }] }
cards: { fpga0: {} }
checks:
  - run: { guest: board, command: 'echo started > /dev/console; sleep 1000', timeout: 1100s }
";
    let topology = dir.path().join("t.yaml");
    std::fs::write(&topology, yaml).unwrap();
    let _images = Run::new(yaml).with_images();
    let script = r#"
"$VMM" run --topology "$TOPOLOGY" --out "$DIR/out" >"$DIR/log" 2>&1 &
vmm=$!
for i in $(seq 600); do grep -q started "$DIR/out/console-board.log" 2>/dev/null && break; sleep 0.1; done
[ -e /sys/class/net/vmmtest0 ] || ip link show
ls /proc/$vmm/fd >/dev/null && echo "running"
echo "before: $(ip -o link | grep -c vmmtest0)"
kill -9 $vmm
wait $vmm
echo "killed: $?"
echo "taps: $(ip -o link | grep -c vmmtest0)"
echo "sockets: $(find "$DIR" /tmp -maxdepth 3 -type s -newer "$TOPOLOGY" 2>/dev/null | grep -c vmm)"
echo "children: $(ps -eo args | grep -c "^$VMM run --topology $TOPOLOGY")"
sed 's/echo started.*1000/true/' "$TOPOLOGY" >"$DIR/again.yaml"
"$VMM" run --topology "$DIR/again.yaml" --out "$DIR/out" >"$DIR/log" 2>&1
echo "again: $?"
"#;
    let (_, text) = in_namespaces(script, &topology, dir.path());
    for line in [
        "running",
        "before: 1",
        "killed: 137",
        "taps: 0",
        "sockets: 0",
        "children: 0",
        "again: 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}

/// Every size of disk that fails at another point of the run.
#[test]
fn a_full_disk_is_reported() {
    if !namespaces() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let yaml = pair("  - ping: { from: host, to: board }\n");
    let topology = dir.path().join("t.yaml");
    std::fs::write(&topology, &yaml).unwrap();
    let _images = Run::new(&yaml).with_images();
    std::fs::create_dir(dir.path().join("disk")).unwrap();
    for (size, unwritten) in [
        ("4k", "result.json"),
        ("64k", "report.html"),
        ("4k,nr_inodes=2", "topology.yaml"),
    ] {
        let script = format!(
            r#"mount -t tmpfs -o size={size} none "$DIR/disk" &&
"$VMM" run --topology "$TOPOLOGY" --out "$DIR/disk/out""#
        );
        let (code, text) = in_namespaces(&script, &topology, dir.path());
        assert_eq!(code, 3, "{size}: {text}");
        let told = |line: &str| {
            line.starts_with("error: cannot")
                && line.contains("No space left on device")
                && (line.contains(unwritten) || unwritten == "topology.yaml")
        };
        assert!(text.lines().any(told), "{size}: {text}");
    }
}

/// An initrd that is a pipe holds the run where the guests are not started yet.
#[test]
fn an_interrupt_before_the_guests_start_is_explained() {
    let yaml = "guests:\n  g: { arch: aarch64, image: { initrd: ./pipe } }\nchecks:\n  - run: { guest: g, command: 'true' }\n";
    let run = Run::new("guests:\n  g: { arch: aarch64 }\n").with_images();
    drop(run);
    let run = Run::new(yaml);
    let pipe = run.dir().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let run = run.start();
    // Opens when the run reads it, long after it began to heed signals.
    let writer = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    // SAFETY: a signal to a child that has not been waited for.
    unsafe { libc::kill(run.pid() as i32, libc::SIGINT) };
    drop(writer);
    let ended = run.end().expect(3);
    assert!(ended.err.contains("interrupted before"), "{}", ended.err);
    assert_eq!(ended.result["passed"], false);
    assert_eq!(ended.rows("run")[0]["error"], "it did not run");
    assert!(ended.read("report.html").contains("interrupted before"));
}

#[test]
fn a_missing_image_is_in_the_reports() {
    let yaml = "guests:\n  g: { arch: aarch64, image: { kernel: ./nowhere } }\nchecks:\n  - run: { guest: g, command: 'true' }\n";
    let ended = Run::new(yaml).end().expect(3);
    for file in ["result.json", "junit.xml", "report.html"] {
        assert!(!ended.read(file).is_empty(), "{file}");
    }
    for file in ["junit.xml", "report.html"] {
        assert!(ended.read(file).contains("nowhere"), "{file}");
    }
}

/// What GitLab's and Jenkins' readers of JUnit's format rely on: counts that
/// are right, names that differ, times that are numbers, a message at each
/// failure.
#[test]
fn junit_is_what_its_readers_take() {
    let yaml = pair(
        "  - ping: { from: host, to: board, size: [56, 512], count: 3 }\n  \
           - run: { guest: host, command: 'printf \"<&>\\001\"; exit 3' }\n  \
           - run: { guest: board, command: 'true' }\n",
    );
    let ended = Run::new(&yaml).end().expect(1);
    let text = ended.read("junit.xml");
    let xml = roxmltree::Document::parse(&text).unwrap();
    let all = xml.root_element();
    assert_eq!(all.tag_name().name(), "testsuites");
    let count =
        |node: roxmltree::Node<'_, '_>, key| node.attribute(key).unwrap().parse::<usize>().unwrap();
    for suite in all.children().filter(roxmltree::Node::is_element) {
        assert_eq!(suite.tag_name().name(), "testsuite");
        let cases: Vec<_> = suite
            .children()
            .filter(|node| node.has_tag_name("testcase"))
            .collect();
        let with = |tag| {
            let has =
                |case: &&roxmltree::Node<'_, '_>| case.children().any(|c| c.has_tag_name(tag));
            cases.iter().filter(has).count()
        };
        for node in [all, suite] {
            assert_eq!(cases.len(), count(node, "tests"));
            assert_eq!(with("failure"), count(node, "failures"));
            assert_eq!(with("error"), count(node, "errors"));
        }
        assert_eq!((cases.len(), with("failure"), with("error")), (4, 1, 0));
        let mut names = std::collections::BTreeSet::new();
        for case in cases {
            let name = (
                case.attribute("classname").unwrap(),
                case.attribute("name").unwrap(),
            );
            assert!(names.insert(name), "{name:?} twice");
            let time: f64 = case.attribute("time").unwrap().parse().unwrap();
            assert!(time >= 0.0);
            for bad in case.children().filter(|c| c.has_tag_name("failure")) {
                assert!(!bad.attribute("message").unwrap().is_empty());
                assert!(bad.attribute("type").is_some());
            }
        }
    }
}
