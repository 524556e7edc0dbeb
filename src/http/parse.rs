//! From the body of a request to what it asks for.

use super::{
    body::{self, Octets},
    invalid::Invalid,
    json::{self, Node},
    openapi,
    problem::Problem,
    route::Request,
};

impl<T> Request<T> {
    /// Reads the body: size (413), media type (415), JSON, types and rules (400).
    pub(super) async fn read<R>(
        &mut self,
        reader: impl FnOnce(Node<'_>) -> Result<R, Invalid>,
    ) -> Result<R, Problem> {
        Ok(self.parse_body(reader).await?.parsed?)
    }

    /// Reads the body of a request that may have been answered before: size (413), media type (415),
    /// JSON and types (400). What the rules of the fields say of it is for later.
    pub(super) async fn parse_body<R>(
        &mut self,
        reader: impl FnOnce(Node<'_>) -> Result<R, Invalid>,
    ) -> Result<Body<R>, Problem> {
        let limits = self.context.limits;
        let octets = body::read_json(&self.http, self.payload.take(), limits.request_body).await?;
        let value = json::parse(&octets)?;
        let parsed = reader(Node::body(&value));
        if let Err(invalid) = &parsed
            && let Some(earlier) = openapi::complaint(&self.route.method, self.route.path, &value)
        {
            // Both complaints name the same member: keep the reader's message.
            let is_same = earlier.field == invalid.field;
            return Err(if is_same { invalid.clone() } else { earlier }.into());
        }
        Ok(Body { parsed, octets })
    }

    /// The body as plain text where it is sent as such, white space around it ignored.
    pub(super) async fn text(&mut self) -> Result<Option<String>, Problem> {
        if !body::has_media_type(&self.http, "text/plain") {
            return Ok(None);
        }
        let limits = self.context.limits;
        let text = body::read_text(&self.http, self.payload.take(), limits.request_body).await?;
        Ok(Some(text.trim().to_owned()))
    }
}

/// A body whose members have the right types.
pub(super) struct Body<T> {
    /// The request that it stands for, or the rule that it breaks.
    pub(super) parsed: Result<T, Invalid>,
    /// As it was sent.
    pub(super) octets: Octets,
}
