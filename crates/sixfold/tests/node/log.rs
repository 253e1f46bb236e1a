//! The log of real processes, as a program reads it.

use serde_json::Value;

use super::on_a_machine;

/// What each process logged: every line is an object.
fn logged() -> Vec<(String, Value)> {
    let output = on_a_machine("ant", include_str!("log.sh"));
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.ends_with("all is well\n"), "{}\n{out}\n{err}", output.status);
    let lines = out.lines().filter(|line| *line != "all is well");
    let parsed = lines.map(|line| {
        let (process, document) = line.split_once(' ').unwrap();
        (process.to_owned(), serde_json::from_str(document).unwrap_or_else(|error| panic!("{error}: {line}")))
    });
    parsed.collect()
}

#[test]
fn every_line_is_a_document_that_says_what_was_done_and_why_it_failed() {
    let logged = logged();
    for (process, line) in &logged {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "{process} has no {field}: {line}");
        }
        let values = line.as_object().unwrap().values();
        assert!(values.filter_map(Value::as_str).all(|text| !text.contains(char::is_control)), "{line}");
    }
    let of = |process: &str, message: &str| {
        let lines = logged.iter().filter(|(by, line)| by == process && line["message"] == message);
        lines.map(|(_, line)| line).collect::<Vec<_>>()
    };

    let steps = of("agent", "step");
    assert!(steps.len() > 50, "{} steps", steps.len());
    let texts = |line: &Value| ["netns", "stage", "step"].iter().all(|field| line[*field].is_string());
    assert!(steps.iter().all(|line| texts(line)), "{steps:?}");
    let added = steps.iter().any(|line| line["stage"] == "AddNetns" && line["netns"] == "gw-1-1");
    assert!(added, "{steps:?}");
    let applied = of("agent", "applied");
    let counts = |line: &Value| ["steps", "failed", "took_ms"].iter().all(|field| line[*field].is_u64());
    assert!(!applied.is_empty() && applied.iter().all(|line| counts(line)), "{applied:?}");

    let failed: Vec<&Value> =
        of("agent", "step failed").into_iter().filter(|line| line["level"] == "WARN").collect();
    let cause = |line: &Value| {
        line["node"] == "ant"
            && line["revision"].is_u64()
            && texts(line)
            && line["error"].as_str().is_some_and(|error| error.contains("/run/away.sock"))
            && line["hint"] == "start it: sixfold tunnel run"
    };
    assert!(!failed.is_empty() && failed.iter().all(|line| cause(line)), "{failed:?}");
    let told: std::collections::BTreeSet<_> = failed.iter().map(|line| line["step"].as_str()).collect();
    assert_eq!(told.len(), failed.len(), "the same failure is said each second");
    let status = of("agent", "status");
    assert!(status.last().is_some_and(|line| line["in_sync"] == true && line["drift"] == 0), "{status:?}");
    let complaint = of("agent", "snapshot").into_iter().find_map(|line| line["complaint"].as_str());
    assert!(complaint.is_some_and(|words| words.contains("is no snapshot: ")), "{complaint:?}");

    assert_eq!(of("tunnel", "tunnel serves").len(), 1);
    let ends = of("second", "failed");
    let why = ends.first().and_then(|line| line["error"].as_str());
    assert!(why.is_some_and(|why| why.contains("another agent is running")), "{ends:?}");
}
