/** Starts the app, and lets it start without a network from then on. */
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app.tsx";
import "./styles/base.css";
import "./styles/device.css";
import "./styles/todos.css";
import "./styles/theatre.css";

const root = document.getElementById("root");
if (root)
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );

// Not while developing: the files would be those of the last build.
if (import.meta.env.PROD) void navigator.serviceWorker?.register("/sw.js");
