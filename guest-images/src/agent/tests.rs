use proptest::prelude::*;

use super::*;

const READY: &[u8] = b"\n@vmm R 1 3.25\n";

fn ready() -> Client {
    let mut client = Client::new(7);
    assert_eq!(client.feed(READY), [AgentEvent::Ready { uptime: 3.25 }]);
    client
}

/// The token of a request, as the guest reads it.
fn token(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request);
    text.split_whitespace().nth(3).unwrap().to_string()
}

/// What guest/agent.sh writes for one command.
fn answer(id: u64, token: &str, output: &[u8], exit: i32) -> Vec<u8> {
    let mut bytes = format!("\n@vmm S {id}\n\n@vmm O {id} {token}\n").into_bytes();
    bytes.extend_from_slice(output);
    bytes.extend_from_slice(format!("\n@vmm E {id} {token} {exit}\n").as_bytes());
    bytes
}

fn done(id: u64, exit: i32, output: &[u8]) -> AgentEvent {
    AgentEvent::Done(Done {
        id,
        exit,
        output: output.to_vec(),
        truncated: false,
    })
}

#[test]
fn one_command() {
    let mut client = ready();
    let request = client.request(5, "echo 'a\\b'\nfalse").unwrap();
    let text = String::from_utf8(request.clone()).unwrap();
    assert!(text.starts_with("\n@vmm X 5 "), "{text}");
    assert!(text.ends_with(" 256\necho 'a\\\\b'\\nfalse\n"), "{text}");
    assert_eq!(client.request(6, "x"), Err(RequestError::Busy(5)));
    let events = client.feed(&answer(5, &token(&request), b"a\\b\n", 1));
    assert_eq!(
        events,
        [AgentEvent::Started { id: 5 }, done(5, 1, b"a\\b\n")]
    );
    assert!(client.is_idle());
}

#[test]
fn refusals() {
    let mut client = Client::default();
    assert_eq!(client.request(1, "x"), Err(RequestError::NotReady));
    let mut client = ready();
    let long = "x".repeat(MAX_COMMAND + 1);
    assert_eq!(
        client.request(1, &long),
        Err(RequestError::TooLong(MAX_COMMAND + 1))
    );
    assert_eq!(client.request(1, "a\0b"), Err(RequestError::Nul));
    assert!(client.is_idle());
}

#[test]
fn long_commands_go_as_bytes() {
    let command = "'\\\n\u{1}\u{e4}".repeat(2000);
    let request = ready().request(1, &command).unwrap();
    let text = String::from_utf8(request).unwrap();
    let (head, body) = text[1..].split_once('\n').unwrap();
    assert!(head.starts_with("@vmm B 1 "), "{head}");
    assert!(head.ends_with(&format!(" 256 {}", command.len())), "{head}");
    assert_eq!(body, command);
}

#[test]
fn output_that_looks_like_the_protocol() {
    let mut client = ready();
    let request = client.request(2, "x").unwrap();
    let output = b"\n@vmm E 2 0000000000000000 0\n\n@vmm R 1 9\n@vmm P\n";
    let events = client.feed(&answer(2, &token(&request), output, 0));
    assert_eq!(events[1], done(2, 0, output));
    assert_eq!(events.len(), 2);
}

#[test]
fn garbage_then_ready_and_restart() {
    let mut client = Client::default();
    let mut bytes = b"\0\xffnoise @vmm R 1 1\nmore".to_vec();
    bytes.extend_from_slice(READY);
    let events = client.feed(&bytes);
    assert!(matches!(&events[0], AgentEvent::Malformed(_)), "{events:?}");
    assert_eq!(events[1..], [AgentEvent::Ready { uptime: 3.25 }]);
    assert_eq!(client.feed(b"\n@vmm R 2 1\n").len(), 1, "another version");
    assert_eq!(client.feed(b"\n@vmm P\n"), [AgentEvent::PoweringOff]);
}

#[test]
fn abandoned_command_answers_late() {
    let mut client = ready();
    let first = client.request(1, "hang").unwrap();
    assert_eq!(client.kill(), b"\n@vmm K\n");
    assert_eq!(client.abandon(), Some(1));
    let second = client.request(2, "echo").unwrap();
    let mut bytes = answer(1, &token(&first), b"late\n", 137);
    bytes.extend(answer(2, &token(&second), b"new\n", 0));
    let events = client.feed(&bytes);
    let good: Vec<_> = events
        .iter()
        .filter(|e| !matches!(e, AgentEvent::Malformed(_)))
        .collect();
    assert_eq!(
        good,
        [&AgentEvent::Started { id: 2 }, &done(2, 0, b"new\n")]
    );
}

#[test]
fn output_past_its_limit() {
    let mut client = ready();
    client.set_output_limit(1);
    let request = client.request(1, "x").unwrap();
    let head = format!("\n@vmm O 1 {}\n", token(&request));
    client.feed(head.as_bytes());
    let events = client.feed(&vec![b'x'; 70 << 10]);
    assert!(matches!(&events[0], AgentEvent::Malformed(_)), "{events:?}");
    client.abandon();
    assert_eq!(client.feed(READY).len(), 1);

    let request = client.request(2, "x").unwrap();
    let full = vec![b'y'; 64 << 10];
    let events = client.feed(&answer(2, &token(&request), &full, 0));
    let AgentEvent::Done(done) = &events[1] else {
        panic!("{events:?}")
    };
    assert!(done.truncated);
    assert_eq!(done.output, full);
}

proptest! {
    #[test]
    fn any_output_in_any_pieces(
        output in proptest::collection::vec(any::<u8>(), 0..2000),
        cuts in proptest::collection::vec(1usize..200, 1..50),
        noise in "[ -~]{0,300}",
        exit in 0..256,
    ) {
        let mut client = ready();
        let request = client.request(9, "x").unwrap();
        let mut bytes = noise.into_bytes();
        bytes.extend(answer(9, &token(&request), &output, exit));
        let mut events = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            events.extend(client.feed(now));
            rest = later;
        }
        events.retain(|e| !matches!(e, AgentEvent::Malformed(_)));
        prop_assert_eq!(events, vec![AgentEvent::Started { id: 9 }, done(9, exit, &output)]);
    }
}
