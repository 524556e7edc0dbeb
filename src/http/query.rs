//! Query parameters, taken out one by one; an unknown one is refused.

use actix_web::{HttpRequest, http::StatusCode};

use super::problem::Problem;

/// Most parameters that a request may have.
pub(super) const PARAMETERS_MAX: usize = 32;

/// Refuses too many parameters, also for routes that take none.
///
/// # Errors
/// 400 when there are too many.
pub(super) fn check(request: &HttpRequest) -> Result<(), Problem> {
    let parameters = request.query_string().split('&').filter(|parameter| !parameter.is_empty());
    if parameters.take(PARAMETERS_MAX + 1).count() > PARAMETERS_MAX {
        let message = format!("query: at most {PARAMETERS_MAX} parameters");
        return Err(Problem::new(StatusCode::BAD_REQUEST, message));
    }
    Ok(())
}

/// The parameters that have not been taken yet.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Those of a request.
    ///
    /// # Errors
    /// 400 when there are too many, or when one occurs twice.
    pub(super) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        check(request)?;
        let given: Vec<(String, String)> =
            url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect();
        for (index, (name, _)) in given.iter().enumerate() {
            if given[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(invalid(name, "occurs twice"));
            }
        }
        Ok(Self(given))
    }

    /// Takes a parameter that may be absent.
    ///
    /// # Errors
    /// 400 with the words of `read`.
    pub(super) fn take<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        let Some(position) = self.0.iter().position(|(given, _)| given == name) else {
            return Ok(None);
        };
        let (_, value) = self.0.remove(position);
        read(&value).map(Some).map_err(|error| invalid(name, &error))
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 400 names a parameter that the route does not have.
    pub(super) fn finish(&self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(invalid(name, "unknown parameter")),
        }
    }
}

fn invalid(name: &str, what: &str) -> Problem {
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    Problem::new(StatusCode::BAD_REQUEST, format!("{name}: {what}"))
}
