/** Icons, drawn on a grid of 24; decorative, so that a label beside or around them speaks. */
import type { ReactNode } from "react";

function Icon({ children }: { readonly children: ReactNode }) {
  return (
    <svg viewBox="0 0 24 24" className="icon" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export const Check = () => (
  <Icon>
    <path d="M5.5 12.5l4.2 4.2 8.8-9.4" />
  </Icon>
);
export const Plus = () => (
  <Icon>
    <path d="M12 5.5v13M5.5 12h13" />
  </Icon>
);
export const Cross = () => (
  <Icon>
    <path d="M7 7l10 10M17 7L7 17" />
  </Icon>
);
export const Grip = () => (
  <Icon>
    <path d="M9 6.5h.01M15 6.5h.01M9 12h.01M15 12h.01M9 17.5h.01M15 17.5h.01" className="dots" />
  </Icon>
);
export const Lock = () => (
  <Icon>
    <path d="M7.5 11V8.5a4.5 4.5 0 019 0V11M6 11h12v8.5H6z" />
  </Icon>
);
export const Pin = () => (
  <Icon>
    <path d="M9 4.5h6l-.8 6 3.3 3.5h-11l3.3-3.5zM12 14v6" />
  </Icon>
);
export const Mark = () => (
  <svg viewBox="0 0 32 32" className="mark" aria-hidden="true" focusable="false">
    <path d="M8 15.5l5 5L24.5 8.5" />
    <path d="M6 26c2.5-1.9 5-1.9 7.5 0s5 1.9 7.5 0 3.7-1.600 5-.6" className="wave" />
  </svg>
);
/** A calm lake, for lists with nothing in them. */
export const Lake = () => (
  <svg viewBox="0 0 160 90" className="lake" aria-hidden="true" focusable="false">
    <circle cx="112" cy="30" r="13" className="sun" />
    <path d="M18 58l30-32 20 22 12-11 24 21z" className="hill" />
    <path d="M10 66c12-7 24-7 36 0s24 7 36 0 24-7 36 0 20 6 32 0" />
    <path d="M26 78c10-5 20-5 30 0s20 5 30 0 20-5 30 0" className="faint" />
  </svg>
);
