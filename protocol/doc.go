// Package protocol holds bytes on a wire and nothing that decides: pgwire (Postgres frames), resp (RESP2/3), peer
// (node-to-node frames) and netloop (the event loop that carries them).
package protocol
