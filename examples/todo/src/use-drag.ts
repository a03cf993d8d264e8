/** Dragging an item of a list by its handle, with a mouse, a finger or a pen. The keyboard's way is the handle's own arrow keys. */
import { type PointerEvent, type RefObject, useState } from "react";

interface Drag {
  readonly id: string;
  /** Where the item would land. */
  readonly to: number;
  /** How far it was dragged, pixels. */
  readonly dy: number;
}

/** @param list its children are the items, in order */
export function useDrag(list: RefObject<HTMLElement | null>, onMove: (id: string, to: number) => void) {
  const [drag, setDrag] = useState<Drag>();

  const handle = (id: string, at: number) => ({
    onPointerDown: (down: PointerEvent<HTMLElement>) => {
      if (down.button !== 0 || !list.current) return;
      const target = down.currentTarget;
      const middles = [...list.current.children].map((child) => {
        const { top, height } = child.getBoundingClientRect();
        return top + height / 2;
      });
      target.setPointerCapture(down.pointerId);
      let latest: Drag = { id, to: at, dy: 0 };
      const moved = (event: globalThis.PointerEvent) => {
        const dy = event.clientY - down.clientY;
        const centre = (middles[at] ?? 0) + dy;
        const to = middles.filter((middle, other) => other !== at && middle < centre).length;
        latest = { id, to, dy };
        setDrag(latest);
      };
      const ended = (event: globalThis.PointerEvent) => {
        target.removeEventListener("pointermove", moved);
        target.removeEventListener("pointerup", ended);
        target.removeEventListener("pointercancel", ended);
        setDrag(undefined);
        if (event.type === "pointerup") onMove(latest.id, latest.to);
      };
      target.addEventListener("pointermove", moved);
      target.addEventListener("pointerup", ended);
      target.addEventListener("pointercancel", ended);
    },
  });

  return { drag, handle };
}
