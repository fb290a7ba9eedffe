import type { PyramidProgressElement } from 'pyramid-progress';
import type { Status } from 'pyramid-progress/types.js';
import { useEffect, useRef } from 'react';

interface Props {
  progressId: string;
  onFinished: (status: Status) => void;
}

/** A bar, which calls a function of the page when the task has finished. */
export function Bar({ progressId, onFinished }: Props) {
  const ref = useRef<PyramidProgressElement>(null);
  useEffect(() => {
    const bar = ref.current!;
    const listener = (event: CustomEvent<Status>) => onFinished(event.detail);
    bar.addEventListener('progress:finished', listener);
    return () => bar.removeEventListener('progress:finished', listener);
  }, [onFinished]);
  return <pyramid-progress ref={ref} progress-id={progressId} />;
}
