// Requests to the server. An error has a code that words.js knows; "offline" when the server does not answer.

export class ApiError extends Error {
  constructor(code, words, status = 0) {
    super(words);
    this.code = code;
    this.status = status;
  }
}

export class Api {
  // onSignedOut: called when the server says that nobody is signed in.
  constructor(onSignedOut) {
    this.onSignedOut = onSignedOut;
  }

  get(path) {
    return this.#send("GET", path);
  }

  post(path, message = {}) {
    return this.#send("POST", path, message);
  }

  put(path, message, more = {}) {
    return this.#send("PUT", path, message, more);
  }

  delete(path) {
    return this.#send("DELETE", path, {});
  }

  async #send(method, path, message, more = {}) {
    const request = { method, credentials: "same-origin", cache: "no-store", ...more };
    if (message !== undefined) {
      request.headers = { "Content-Type": "application/json" };
      request.body = JSON.stringify(message);
    }
    let answer;
    try {
      answer = await fetch(`/api/${path}`, request);
    } catch (error) {
      throw new ApiError("offline", String(error));
    }
    const content = await answer.json().catch(() => ({}));
    if (answer.ok) return content;
    if (answer.status === 401) this.onSignedOut?.();
    throw new ApiError(content.error ?? "failed", content.message ?? `status ${answer.status}`, answer.status);
  }
}

// A fresh id; crypto.randomUUID is missing on plain http from another machine.
export function freshId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
