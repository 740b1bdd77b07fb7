//! Settings of the methods by `key=value`.

use sib_core::{Error, Result, dotted, nearest};

use crate::method::MethodOptions;

impl MethodOptions {
    /// Sets one option from `key=value`; the value is read as TOML, or as a string where it is none.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown key or a value of the wrong kind; `self` is unchanged then.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(Error::invalid("method option", assignment, "key=value"));
        };
        let (key, value) = (key.trim(), value.trim());
        let refused =
            |reason: &dyn std::fmt::Display| Error::invalid(key, value, reason.to_string().trim());
        let mut table = toml::Table::try_from(&*self).map_err(|error| refused(&error))?;
        let mut path: Vec<&str> = key.split('.').collect();
        let name = path.pop().unwrap_or_default();
        let mut section = &mut table;
        for part in path {
            let entry =
                section.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            section = entry.as_table_mut().ok_or_else(|| refused(&"a key of one option"))?;
        }
        section.insert(name.to_owned(), parse_value(value));
        *self = table.try_into().map_err(|error: toml::de::Error| {
            let problem = error.message();
            let keys = if problem.contains("unknown field") { known_keys() } else { Vec::new() };
            match nearest::key(key, &keys) {
                Some(meant) => refused(&format!("{problem} (did you mean {meant}?)")),
                None => refused(&problem),
            }
        })?;
        Ok(())
    }
}

/// Every key of [`MethodOptions`], also of options that have no value by default.
fn known_keys() -> Vec<String> {
    let mut options = MethodOptions { batch_size: Some(1), ..MethodOptions::default() };
    options.cam.layer = Some(String::new());
    options.s_ib_map.mask.window_px = Some(1);
    dotted::of(&options, "").map_or(Vec::new(), |settings| settings.into_keys().collect())
}

fn parse_value(text: &str) -> toml::Value {
    toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_the_one_that_may_be_meant() {
        for (key, meant) in [
            ("grad-cam.layer", "cam.layer"),
            ("layer-cam.layer", "cam.layer"),
            ("score-cam.weight", "score-cam.weights"),
            ("ig.steps", "integrated-gradients.steps"),
            ("s-ib-map.mask.window", "s-ib-map.mask.window_px"),
        ] {
            let message =
                MethodOptions::default().set(&format!("{key}=1")).unwrap_err().to_string();
            assert!(message.starts_with(key), "{message}");
            assert!(message.ends_with(&format!("(did you mean {meant}?)")), "{message}");
        }
        let message = MethodOptions::default().set("colour=1").unwrap_err().to_string();
        assert!(!message.contains("did you mean"), "{message}");
    }
}
