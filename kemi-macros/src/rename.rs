//! Rules for names: `rename_all = "snake_case"` and its kin.

/// How names in Rust become names in scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
}

const RULES: [(&str, Rule); 7] = [
    ("lowercase", Rule::Lower),
    ("UPPERCASE", Rule::Upper),
    ("PascalCase", Rule::Pascal),
    ("camelCase", Rule::Camel),
    ("snake_case", Rule::Snake),
    ("SCREAMING_SNAKE_CASE", Rule::ScreamingSnake),
    ("kebab-case", Rule::Kebab),
];

impl Rule {
    /// Finds a rule by its own spelling.
    pub(crate) fn named(name: &str) -> Option<Rule> {
        RULES.iter().find(|(known, _)| *known == name).map(|(_, rule)| *rule)
    }

    /// Lists the rules for a message.
    pub(crate) fn names() -> String {
        RULES.map(|(name, _)| name).join(", ")
    }

    /// Renames a field or variant.
    pub(crate) fn apply(self, name: &str) -> String {
        let words = words(name);
        let capitals = |words: &[String]| words.iter().map(|word| capital(word)).collect::<String>();
        match self {
            Rule::Lower => words.concat(),
            Rule::Upper => words.concat().to_uppercase(),
            Rule::Pascal => capitals(&words),
            Rule::Camel => match words.split_first() {
                Some((first, rest)) => format!("{first}{}", capitals(rest)),
                None => String::new(),
            },
            Rule::Snake => words.join("_"),
            Rule::ScreamingSnake => words.join("_").to_uppercase(),
            Rule::Kebab => words.join("-"),
        }
    }
}

/// Splits a name at underscores and before capitals, into words of small letters.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before_small = false;
    for part in name.split('_').filter(|part| !part.is_empty()) {
        words.push(String::new());
        before_small = false;
        for letter in part.chars() {
            if letter.is_uppercase() && before_small {
                words.push(String::new());
            }
            before_small = !letter.is_uppercase();
            if let Some(word) = words.last_mut() {
                word.extend(letter.to_lowercase());
            }
        }
    }
    let _ = before_small;
    words
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_variants_are_renamed_word_by_word() {
        let rows = [
            ("lowercase", "maxretries", "paidinfull"),
            ("UPPERCASE", "MAXRETRIES", "PAIDINFULL"),
            ("PascalCase", "MaxRetries", "PaidInFull"),
            ("camelCase", "maxRetries", "paidInFull"),
            ("snake_case", "max_retries", "paid_in_full"),
            ("SCREAMING_SNAKE_CASE", "MAX_RETRIES", "PAID_IN_FULL"),
            ("kebab-case", "max-retries", "paid-in-full"),
        ];
        for (name, field, variant) in rows {
            let rule = Rule::named(name).unwrap();
            assert_eq!((&*rule.apply("max_retries"), &*rule.apply("PaidInFull")), (field, variant), "{name}");
        }
        assert_eq!(Rule::named("Snake"), None);
        assert_eq!(Rule::Snake.apply("HTTPServer"), "httpserver");
    }
}
