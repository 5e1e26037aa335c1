//! A real gateway on a real port, with a real store, book and agent. Only the model is scripted.

#[cfg(test)]
mod audit;
mod chat;
#[cfg(test)]
mod completions;
#[cfg(test)]
mod halt;
mod handshake;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod house;
#[cfg(test)]
mod http;
#[cfg(test)]
mod load;
#[cfg(test)]
mod methods;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod responses;
#[cfg(test)]
mod stop;
