//! Back ends that are right, and known ways of being wrong.

use super::Seeds;

/// What a guest does in a usual life: start, look, send, look.
const LIFE: &[u8] = &[0, 1, 2, 3, 1, 3, 2, 1];
/// Start over, pull the cable and plug it in, lose the bus and get it back.
const CHANGES: &[u8] = &[0, 1, 3, 5, 3, 5, 1, 6, 0, 1, 4, 3, 12, 1, 7, 2];

/// A seed: the device's end of the socket, the guest's steps, the back end's.
fn seed(name: &str, role: u8, steps: &[u8], script: &[u8]) -> (String, Vec<u8>) {
    let mut bytes = vec![role, steps.len() as u8];
    bytes.extend(steps);
    bytes.extend(script);
    (name.to_owned(), bytes)
}

/// `count` right answers, then `rest`.
fn right(count: usize, rest: &[u8]) -> Vec<u8> {
    let mut script = vec![0; count];
    script.extend(rest);
    script
}

pub fn vhost_user() -> Seeds {
    let mut all = Vec::new();
    for (role, end) in [(0, "client"), (1, "server")] {
        let mut add = |name: &str, steps: &[u8], script: &[u8]| {
            all.push(seed(&format!("{end}_{name}"), role, steps, script));
        };
        add("good", LIFE, &right(60, &[]));
        add("good_changes", CHANGES, &right(200, &[]));
        // Every request is acknowledged.
        add("acknowledges", CHANGES, &[0x40; 200]);
        add("closes_at_once", LIFE, &[]);
        add("closes_while_starting", LIFE, &right(12, &[]));
        // Gone in the middle of an answer, and back with right ones.
        add(
            "comes_back",
            CHANGES,
            &right(9, &[6, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        );
        add("descriptors_with_answers", LIFE, &[0x18; 40]);
        add("descriptors_and_acknowledges", LIFE, &[0x58; 40]);
        // The answer is to another request; of another version; a request.
        add("another_request", LIFE, &right(1, &[3, 0, 2, 0, 0]));
        add("another_version", LIFE, &right(1, &[3, 4, 3, 0, 0]));
        add("no_answer_bit", LIFE, &right(0, &[3, 4, 4, 0, 0]));
        add("another_size", LIFE, &right(2, &[3, 8, 0xff, 0, 0]));
        add(
            "a_huge_size",
            LIFE,
            &[5, 1, 5, 0xff, 0xff, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        );
        // No VERSION_1; every feature there is; no queues; 2^64 - 1 of them.
        add("no_version_1", LIFE, &[4, 0, 0, 0, 0x70, 0, 0, 0, 0, 0, 0]);
        add(
            "every_feature",
            CHANGES,
            &right(0, &[[4].as_slice(), &[0xff; 8], &[0; 90]].concat()),
        );
        add(
            "every_protocol_feature",
            CHANGES,
            &right(1, &[[4].as_slice(), &[0xff; 8], &[0; 90]].concat()),
        );
        add(
            "no_queues",
            LIFE,
            &right(3, &[[4].as_slice(), &[0; 8], &[0; 30]].concat()),
        );
        add(
            "all_queues",
            LIFE,
            &right(3, &[[4].as_slice(), &[0xff; 8], &[0; 60]].concat()),
        );
        // A part of an answer; talk that nobody asked for.
        add("a_part", LIFE, &right(2, &[6, 7]));
        add(
            "talks",
            LIFE,
            &right(
                8,
                &[
                    7, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
                    0, 0,
                ],
            ),
        );
        // Refuses what is acknowledged; the base of another ring.
        add(
            "refuses",
            LIFE,
            &[0, 0x40, 0x40, 0x40, 0x44, 1, 0, 0, 0, 0, 0, 0, 0, 0x40],
        );
        add(
            "another_base",
            CHANGES,
            &right(22, &[4, 9, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0]),
        );
    }
    all
}
