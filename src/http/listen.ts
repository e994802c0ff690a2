import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";

/** Where to listen. */
export interface ListenOptions {
  /** A name or address of this machine. Default: 127.0.0.1. */
  readonly host?: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** How long `close` lets answers under way go on. Default: 30 s. */
  readonly drainTimeoutMs?: number;
}

/** An app that is reachable. */
export interface Listening {
  /** Such as `http://127.0.0.1:8000`, without a slash at the end. */
  readonly url: string;
  /**
   * Refuses new connections, lets answers under way end, and resolves when the last connection is closed. Those that
   * outlast `drainTimeoutMs` are cut, which aborts their completions.
   */
  close(): Promise<void>;
}

/**
 * Opens a port for `app`.
 *
 * @throws Node's error if the port is taken or the host is not this machine's
 */
export async function listen(app: FastifyInstance, options: ListenOptions): Promise<Listening> {
  const { host = "127.0.0.1", port, drainTimeoutMs = 30_000 } = options;
  const sockets = new Set<Socket>();
  app.server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  const url = await app.listen({ host, port });
  return {
    url,
    async close() {
      // Clients open connections ahead of need. Node counts one that has said nothing as busy, and would wait for it.
      for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
      const cut = setTimeout(() => app.server.closeAllConnections(), drainTimeoutMs);
      try {
        await app.close();
      } finally {
        clearTimeout(cut);
      }
    },
  };
}
