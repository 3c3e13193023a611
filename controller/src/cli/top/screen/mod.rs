//! `ringfence top` as a screen: the state is kept apart from how it is drawn, and both from the terminal.

mod draw;
mod health;
mod rows;
mod state;
#[cfg(test)]
mod tests;
mod text;
mod view;

use std::{future::pending, io, pin::Pin, process::ExitCode, thread, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use self::{
    state::{Effect, Input, State},
    text::Look,
    view::View,
};
use crate::{
    api::{Client, ClientError, TopRequest},
    cli::{coloured, place::Found},
    telemetry::{Status, Top, TopBy},
};

/// How often the daemon is asked.
const PERIOD: Duration = Duration::from_secs(1);

/// The terminal, as long as the screen is shown in it. However the screen ends, the terminal is then as it was before.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> anyhow::Result<Self> {
        // This also lets a panic restore the terminal before it is reported.
        ratatui::try_init().map(Self).context("failed to use the terminal")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Shows the screen until the user leaves it, or a signal ends it.
///
/// # Errors
/// No daemon answers at the start, or the terminal cannot be used.
pub(super) fn run(found: &Found, asked: TopRequest) -> anyhow::Result<ExitCode> {
    let view = View::Rows(asked.by.unwrap_or(TopBy::Rule));
    let state = State::new(view, asked);
    crate::cli::block_on(show(found, state))
}

async fn show(found: &Found, mut state: State) -> anyhow::Result<ExitCode> {
    // Without a daemon there is nothing to show. One that goes later may come again.
    let request = state.request();
    let first = ask(found, &request).await?;
    state.update(Input::Answer(Box::new(request), Ok(Box::new(first))), Timestamp::now());

    let mut signals = Signals::new()?;
    let mut screen = Screen::open()?;
    let look = Look { colour: coloured(&io::stdout()), unicode: is_unicode(|name| std::env::var(name).ok()) };
    let mut events = events();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // At most one question is open. What changes meanwhile is asked after it.
    let mut open: Option<Pin<Box<dyn Future<Output = Input> + '_>>> = None;
    let mut is_due = false;
    loop {
        screen.0.draw(|frame| draw::draw(&state, look, frame)).context("failed to draw on the terminal")?;
        let input = tokio::select! {
            event = events.recv() => match event {
                Some(Ok(Event::Key(key))) => Input::Key(key),
                // Another size is drawn by itself.
                Some(Ok(Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_) | Event::Resize(..))) => continue,
                Some(Err(error)) => return Err(error).context("failed to read from the terminal"),
                None => return Ok(ExitCode::SUCCESS),
            },
            answer = async { match &mut open { Some(answer) => answer.await, None => pending().await } } => {
                open = None;
                answer
            }
            _ = ticks.tick() => Input::Tick,
            () = signals.received() => return Ok(ExitCode::SUCCESS),
        };
        match state.update(input, Timestamp::now()) {
            Effect::Ask => is_due = true,
            Effect::End => return Ok(ExitCode::SUCCESS),
            Effect::Nothing => {}
            Effect::Redraw => screen.0.clear().context("failed to draw on the terminal")?,
        }
        if is_due && open.is_none() {
            is_due = false;
            let request = state.request();
            open = Some(Box::pin(async move {
                let answer = ask(found, &request).await;
                Input::Answer(Box::new(request), answer.map(Box::new).map_err(|error| error.to_string()))
            }));
        }
    }
}

/// The daemon's answers. Each of them takes at most as long as the client waits.
async fn ask(found: &Found, request: &TopRequest) -> Result<(Status, Top), ClientError> {
    let status = Client::connect(&found.socket).await?.status().await?;
    if status.pin_dir != found.pins.root() {
        let socket = found.socket.display().to_string();
        return Err(ClientError::NoFilter { socket, pins: found.pins.root().to_owned() });
    }
    let status = status.with_wanted(found.interfaces.iter().map(|interface| interface.name.as_str()));
    Ok((status, Client::connect(&found.socket).await?.top(request).await?))
}

/// What the terminal sends. The thread that waits for it ends with the process.
fn events() -> mpsc::Receiver<io::Result<Event>> {
    let (sender, events) = mpsc::channel(16);
    thread::spawn(move || {
        loop {
            let event = event::read();
            let has_failed = event.is_err();
            if sender.blocking_send(event).is_err() || has_failed {
                return;
            }
        }
    });
    events
}

/// The signals that end the screen.
struct Signals([tokio::signal::unix::Signal; 3]);

impl Signals {
    fn new() -> io::Result<Self> {
        let of = |kind| signal(kind);
        Ok(Self([of(SignalKind::hangup())?, of(SignalKind::interrupt())?, of(SignalKind::terminate())?]))
    }

    async fn received(&mut self) {
        let [hangup, interrupt, terminate] = &mut self.0;
        tokio::select! {
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

/// Whether the terminal shows more than ASCII, as far as the locale says (locale(7)).
fn is_unicode(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    let locale = locale.unwrap_or_default().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}
