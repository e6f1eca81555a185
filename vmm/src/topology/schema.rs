//! The JSON Schema of a topology, for editors, and a reference page made of it.

use super::spec::TopologySpec;
use serde_json::{Map, Value};
use std::fmt::Write;

/// The JSON Schema of a topology.
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(TopologySpec).to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), "vmm topology".into());
    }
    schema
}

/// The reference page of every key, in Markdown.
pub fn reference_page() -> String {
    let schema = json_schema();
    let mut page = String::from(
        "# Topology reference\n\n\
         <!-- Made from the types in vmm/src/topology by its tests; do not edit. -->\n\n\
         A topology is a YAML file. Unknown keys are errors. Sizes are written like `256M` (powers \
         of 1024), times like `500ns`, `10ms` or `3s`, shares like `0%`. Relative paths are relative \
         to the topology file. `vmm check --topology FILE` shows a topology with every default \
         filled in; `--set guests.host.memory=1G` or `--set checks[0].ping.count=100` changes one \
         value. [topology.schema.json](topology.schema.json) is the same for editors.\n",
    );
    let mut queue = vec!["TopologySpec".to_owned()];
    let mut done = 0;
    while done < queue.len() {
        let name = queue[done].clone();
        done += 1;
        let found = if name == "TopologySpec" {
            Some(&schema)
        } else {
            schema.pointer(&format!("/$defs/{name}"))
        };
        if let Some(Value::Object(def)) = found {
            section(&mut page, &name, def, &mut queue);
        }
    }
    page
}

fn text<'a>(def: &'a Map<String, Value>, key: &str) -> &'a str {
    def.get(key).and_then(Value::as_str).unwrap_or("")
}

/// One line of text: Markdown tables have no line breaks.
fn line(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

fn title(name: &str) -> &str {
    name.strip_suffix("Spec").unwrap_or(name)
}

fn section(page: &mut String, name: &str, def: &Map<String, Value>, queue: &mut Vec<String>) {
    let _ = write!(
        page,
        "\n## {}\n\n{}\n\n",
        title(name),
        line(text(def, "description"))
    );
    if let Some(Value::Object(properties)) = def.get("properties") {
        let _ = writeln!(page, "| key | value | default | |\n|---|---|---|---|");
        let required = def.get("required").and_then(Value::as_array);
        for (key, value) in properties {
            let needed = required.is_some_and(|r| r.iter().any(|k| k == key));
            let default = match value.get("default") {
                _ if needed => "required".into(),
                Some(Value::Null | Value::Object(_)) | None => String::new(),
                Some(default) => format!("`{default}`"),
            };
            let kind = kind(value, queue);
            let description = value
                .get("description")
                .and_then(Value::as_str)
                .unwrap_or("");
            let _ = writeln!(
                page,
                "| `{key}` | {kind} | {default} | {} |",
                line(description)
            );
        }
    }
    let choices = ["oneOf", "anyOf"]
        .iter()
        .find_map(|k| def.get(*k)?.as_array());
    for choice in choices.into_iter().flatten() {
        let description = choice
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or("");
        let _ = writeln!(page, "- {}: {}", kind(choice, queue), line(description));
    }
}

/// How a value is written.
fn kind(value: &Value, queue: &mut Vec<String>) -> String {
    if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or(reference).to_owned();
        let link = format!("[{0}](#{1})", title(&name), title(&name).to_lowercase());
        if !queue.contains(&name) {
            queue.push(name);
        }
        return link;
    }
    if let Some(word) = value.get("const") {
        return format!("`{}`", word.as_str().unwrap_or("?"));
    }
    if let Some(words) = value.get("enum").and_then(Value::as_array) {
        let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
        return format!("`{}`", words.join("`, `"));
    }
    if let Some(choices) = ["anyOf", "oneOf"]
        .iter()
        .find_map(|k| value.get(*k)?.as_array())
    {
        let kinds: Vec<_> = choices
            .iter()
            .filter(|c| c.get("type").is_none_or(|t| t != "null"))
            .map(|c| kind(c, queue))
            .collect();
        return kinds.join(" or ");
    }
    if let Some(example) = value.pointer("/examples/0").and_then(Value::as_str) {
        return format!("like `{example}`");
    }
    let names: Vec<&str> = match value.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    match names.iter().find(|n| **n != "null") {
        Some(&"array") => match value.get("items") {
            Some(items) => format!("list of {}", kind(items, queue)),
            None => "list".into(),
        },
        Some(&"object") => {
            if let Some(values) = value.get("additionalProperties").filter(|v| v.is_object()) {
                return format!("name: {}", kind(values, queue));
            }
            match value.get("properties").and_then(Value::as_object) {
                Some(properties) => {
                    let parts: Vec<_> = properties
                        .iter()
                        .map(|(k, v)| format!("`{k}`: {}", kind(v, queue)))
                        .collect();
                    parts.join(", ")
                }
                None => "map".into(),
            }
        }
        Some(&"integer") => "number".into(),
        Some(&"boolean") => "`true` or `false`".into(),
        Some(&"string") => "text".into(),
        _ => "value".into(),
    }
}
